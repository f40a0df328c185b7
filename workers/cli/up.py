"""`checkpoints up`: everything on one machine, from one command until Ctrl-C."""

import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import typer

from shared.errors import DeferredCheckpointError
from workers.cli.postgres_server import postgres_server
from workers.cli.programs import Group, Program, read_procfile
from workers.cli.redis_server import redis_server
from workers.cli.running import only_one
from workers.cli.servers import HOST, EmbeddedServer, free_port, write_private
from workers.cli.supervise import RUNNING, Supervisor

DATABASE_URL, BROKER_URL = "CHECKPOINT_DATABASE_URL", "CHECKPOINT_BROKER_URL"
NODE, FLOWER_URL, LOCK_FOLDER = "CHECKPOINT_NODE", "CHECKPOINT_FLOWER_URL", "CHECKPOINT_LOCK_FOLDER"
WORK_FOLDER, IMAGE_STORE = "CHECKPOINT_WORK_FOLDER", "CHECKPOINT_IMAGE_STORE"
TOLD = (DATABASE_URL, BROKER_URL, NODE, FLOWER_URL)
HEALTH_FOLDER, HEALTH = "CHECKPOINT_HEALTH_FOLDER", "health"
PROCFILE = Path(__file__).with_name("Procfile")  # here a link to the top one, in a wheel a copy of it
WORKERS, SERVERS = "workers", "servers"
READY_SECONDS = 120.0
POLL_SECONDS = 0.05
# A worker that keeps its process for so long did not fail at its start.
STEADY_SECONDS = 0.5
# Together, and with Supervisor's own turns of a second, below the contract's 20 s.
WORKERS_STOP_SECONDS, SERVERS_STOP_SECONDS, STOP_SECONDS = 11, 4, 19.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class UpFailed(DeferredCheckpointError):
    """Something did not become ready, or ended by itself."""

    code = "up-failed"


class Stopped(BaseException):
    """SIGTERM, SIGINT or SIGHUP came."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` runs; tests run something else.

    Args:
        procfile: The workers.
        prepare: Called with the programs' environment once the servers answer, before the workers start.
        is_ready: Called with the programs' environment and the seconds since they were started, until true.
        ready_seconds: How long that may take.
    """

    procfile: Path
    prepare: Callable[[Mapping[str, str]], None]
    is_ready: Callable[[Mapping[str, str], float], bool]
    ready_seconds: float = READY_SECONDS


def prepare(environment: Mapping[str, str]) -> None:
    """Bring the database to this release's schema, and see that Redis answers."""
    from shared.db.readiness import make_ready  # noqa: PLC0415 - while the servers start
    from shared.readiness import require_redis  # noqa: PLC0415

    require_redis(environment[BROKER_URL])
    make_ready(environment[DATABASE_URL])


def is_ready(environment: Mapping[str, str], seconds: float) -> bool:
    """Return whether the node's agent has reported since the workers started, and Flower listens."""
    from shared.db.readiness import node_was_seen  # noqa: PLC0415 - while the servers start

    flower = urlsplit(environment[FLOWER_URL])
    try:
        socket.create_connection((flower.hostname or HOST, flower.port or 80), timeout=1).close()
    except OSError:
        return False
    return node_was_seen(environment[DATABASE_URL], node=environment[NODE], seconds=seconds)


def run_up(data: Path, plan: Plan | None = None) -> int:
    """Run everything until a signal comes; return the exit code.

    Raises:
        AlreadyRunning: Another `up` uses the folder.
        DeferredCheckpointError: A setting is wrong, or something did not become ready.
    """
    # A shell that starts us with `nohup` wants no SIGHUP to reach us.
    heard = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN or one is not signal.SIGHUP]
    for one in heard:
        signal.signal(one, stop_here)
    # A wrong setting is better told here than by workers that end again and again.
    from shared.settings import read_settings  # noqa: PLC0415 - its import takes 0.2 s

    try:
        node = read_settings().node
        folder = data.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UpFailed(
                f"{folder} cannot be the data folder: {error.strerror}; choose another with --data"
            ) from None
        with only_one(folder) as lock:
            # A last `up` that was killed could not remove it.
            (folder / "up.env").unlink(missing_ok=True)
            run_programs(folder, plan or Plan(PROCFILE, prepare, is_ready), lock, node)
    except Stopped:
        say("stopped")
    return 0


def stop_here(_number: int, _frame: FrameType | None) -> None:
    """Leave whatever runs, once: what follows is the stop, which has its own limit."""
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise Stopped


def run_programs(folder: Path, plan: Plan, lock: int, node: str) -> None:
    """Start servers, then workers, tell others of them, and watch until a signal comes."""
    environment = dict(os.environ) | {NODE: node}
    servers = embedded_servers(folder, environment)
    complete(environment, folder)
    groups = [
        Group(
            SERVERS,
            [Program(server.name, server.argv, server.stop_signal) for server in servers],
            priority=1,
            stop_seconds=SERVERS_STOP_SECONDS,
            autostart=True,
        ),
        Group(
            WORKERS,
            read_procfile(plan.procfile),
            priority=2,
            stop_seconds=WORKERS_STOP_SECONDS,
            autostart=False,
        ),
    ]
    say(f"logs: {folder / 'logs'}/*.log")
    with supervised(groups, folder=folder, environment=environment, lock=lock) as supervisor:
        supervisor.wait_control()
        for server in servers:
            server.wait_ready()
        plan.prepare(environment)
        started = time.monotonic()
        supervisor.start_group(WORKERS)
        wait_ready(
            supervisor,
            lambda: plan.is_ready(environment, time.monotonic() - started),
            seconds=plan.ready_seconds,
        )
        told = {name: environment[name] for name in TOLD}
        try:
            write_private(folder / "up.env", "".join(f"{name}={value}\n" for name, value in told.items()))
            for name, value in told.items():
                say(f"{name}={masked(value)}")
            say("ready")
            supervisor.process.wait()
            raise UpFailed(f"Supervisor ended by itself; see {supervisor.log}")
        finally:
            (folder / "up.env").unlink(missing_ok=True)


@contextmanager
def supervised(
    groups: list[Group], *, folder: Path, environment: Mapping[str, str], lock: int
) -> Generator[Supervisor]:
    """Have a Supervisor; in the end all that it started is stopped, however the block is left."""
    # A signal between the start and the assignment would leave a child that nobody knows.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    supervisor = Supervisor(groups, folder=folder, environment=environment, lock=lock)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        yield supervisor
    finally:
        # The first signal comes in the block; none may cut the stop short.
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        supervisor.stop(seconds=STOP_SECONDS)


def embedded_servers(folder: Path, environment: dict[str, str]) -> list[EmbeddedServer]:
    """Prepare the servers that the environment does not name, and name them there."""
    servers: list[EmbeddedServer] = []
    for name, variable, prepare_server in (
        ("postgres", DATABASE_URL, postgres_server),
        ("redis", BROKER_URL, redis_server),
    ):
        if environment.get(variable):
            continue
        say(f"{name}: {folder / name}")
        server = prepare_server(folder / name)
        server.log = folder / "logs" / f"{name}.log"
        servers.append(server)
        environment[variable] = server.url
    return servers


def complete(environment: dict[str, str], folder: Path) -> None:
    """Fill in what the workers need to know beside the servers' addresses."""
    environment.setdefault(LOCK_FOLDER, str(folder / "locks"))
    environment.setdefault(HEALTH_FOLDER, str(folder / HEALTH))
    Path(environment[LOCK_FOLDER]).mkdir(parents=True, exist_ok=True, mode=0o700)
    environment.setdefault(WORK_FOLDER, str(folder / "work"))
    environment.setdefault(IMAGE_STORE, (folder / "images").as_uri())
    environment[FLOWER_URL] = f"http://checkpoints:{secrets.token_urlsafe(18)}@{HOST}:{free_port()}"
    # The Procfile says `checkpoints`, and means the one beside this Python.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])


def wait_ready(supervisor: Supervisor, ready: Callable[[], bool], *, seconds: float) -> None:
    """Wait until every program has kept its process for a while, and `ready` says so too.

    Raises:
        UpFailed: That was not so in time; the message names the programs that do not stay up.
    """
    deadline = time.monotonic() + seconds
    since: dict[int, float] = {}
    while True:
        now = time.monotonic()
        if not supervisor.is_alive():
            raise UpFailed(f"Supervisor ended by itself; see {supervisor.log}")
        states = supervisor.states()
        since = {one.pid: since.get(one.pid, now) for one in states if one.state == RUNNING}
        unsteady = [one.name for one in states if now - since.get(one.pid, now) < STEADY_SECONDS]
        if not unsteady and ready():
            return
        if now >= deadline:
            blamed = ", ".join(unsteady) or "the node's agent or Flower"
            raise UpFailed(f"not ready within {seconds:g} s: {blamed}; see {supervisor.log.parent}")
        time.sleep(POLL_SECONDS)


def masked(value: str) -> str:
    """Return a URL without its password, anything else as it is."""
    password = urlsplit(value).password if "://" in value else None
    return value.replace(f":{password}@", ":***@") if password else value


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    typer.echo(line)

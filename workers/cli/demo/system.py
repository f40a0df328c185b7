"""The system that a demo speaks to: the one that the environment or the data folder names, else one of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.db.readiness import engines_seen
from shared.errors import DeferredCheckpointError, Unreachable
from shared.settings import Settings
from workers.cli import child
from workers.cli.demo.means import Choice, choose, own_means
from workers.cli.demo.plan import DELAY_MS, THRESHOLD_MS
from workers.cli.kinds import DemoEngine
from workers.cli.running import running
from workers.cli.servers import launcher
from workers.cli.target import target_settings
from workers.cli.up import DATABASE_URL, FLOWER_URL, READY_SECONDS, SIGNALS, STOP_SECONDS, masked

POLL_SECONDS: Final = 0.05
# What own servers have beside what the environment says. With `simulate` a dump takes as long as a small one would.
OWN_SETTINGS: Final = {
    "CHECKPOINT_DELAY_TASK_MS": str(DELAY_MS),
    "CHECKPOINT_DURATION_THRESHOLD_MS": str(THRESHOLD_MS),
    "CHECKPOINT_SIMULATE_COMMAND": '["sleep", "0.1"]',
}

Say = Callable[[str], None]


class UpFailed(DeferredCheckpointError):
    """The servers or workers that the demo started did not become ready."""

    code = "up-failed"


@contextmanager
def a_system(data: Path, wanted: DemoEngine, say: Say) -> Generator[tuple[Settings, Choice]]:
    """Have a system whose workers run, and the engine of the runs; a system of our own is stopped in the end.

    Raises:
        Unreachable: The system that the environment names has no worker on this node.
        EngineUnsupported: Its workers do not offer the engine that is wanted, or it does not work here.
        UpFailed: Own servers or workers did not become ready.
        Misconfigured: Some settings are wrong.
    """
    if is_named(data):
        where = "the environment" if os.environ.get(DATABASE_URL) else data / "up.env"
        settings = target_settings(data)
        choice = choose(wanted, offered(settings), why_not=None)
        say(f"using the system that {where} names, with {told(choice)}")
        yield settings, choice
        return
    means = own_means(wanted)
    say(f"starting Postgres, Redis and the workers (`checkpoints up --data {data}`) ...")
    began = time.monotonic()
    with own_up(data, means.environment):
        settings = target_settings(data)
        choice = choose(wanted, offered(settings), why_not=means.why_not)
        flower = masked(os.environ[FLOWER_URL])
        say(f"ready after {time.monotonic() - began:.1f} s; Flower meanwhile: {flower} (password: {data / 'up.env'})")
        say(told(choice))
        yield settings, choice
        say("stopping the workers and servers ...")


def told(choice: Choice) -> str:
    """Return the engine and why it is not `process`, on one line."""
    if choice.why_not is None:
        return "the engine `process`: CRIU freezes runs, and gives their memory back"
    return f"the engine `{choice.engine}`, which only pauses processes, and not `process`: {choice.why_not}"


def is_named(data: Path) -> bool:
    """Return whether the environment or the data folder names a system."""
    return bool(os.environ.get(DATABASE_URL)) or running(data) is not None


def offered(settings: Settings) -> list[str]:
    """Return the engines that the workers of this node offer.

    Raises:
        Unreachable: No worker was seen; nobody would take or restore a checkpoint.
    """
    url = settings.database_url.get_secret_value()
    engines = engines_seen(url, node=settings.node, seconds=settings.node_silent_ms / 1000)
    if engines is None:
        raise Unreachable(
            f"no worker of the node {settings.node} was seen in the Postgres that {DATABASE_URL} names; "
            f"run `checkpoints up` with the same environment first, or unset {DATABASE_URL}."
        )
    return engines


@contextmanager
def own_up(data: Path, environment: Mapping[str, str]) -> Generator[None]:
    """Have a `checkpoints up` as a child; it stops with the block, or by itself if this process dies.

    Args:
        data: Its folder.
        environment: What it has beside our own and what all demos have.
    """
    with tempfile.TemporaryFile("w+") as output:
        # A signal between the start and the assignment would leave a child that nobody waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        process = subprocess.Popen(
            [*launcher(death=signal.SIGTERM), sys.executable, "-m", "workers.cli.main", "up", "--data", str(data)],
            env={**OWN_SETTINGS, **environment, **os.environ, child.PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the demo, which stops its runs first.
            start_new_session=True,
        )
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _wait_ready(process, data)
            yield
        except _Ended:
            output.seek(0)
            raise UpFailed(f"`checkpoints up --data {data}` did not become ready:\n{output.read().strip()}") from None
        finally:
            _stop(process)


class _Ended(Exception):
    """It ended before it was ready, or was not ready in time."""


def _wait_ready(process: subprocess.Popen[bytes], data: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while running(data) is None:
        if process.poll() is not None or time.monotonic() >= deadline:
            raise _Ended
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS + 1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

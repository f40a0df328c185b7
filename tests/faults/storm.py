"""A storm: a system on servers of its own whose workers are started again, runs that wait in it, and the verdict."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit

import psycopg
from pydantic import SecretStr
from servers import Servers, start_servers
from waiting import wait_until

from shared.db.migrate import migrate
from shared.settings import Settings
from tests.faults.losing_proxy import LosingProxy
from tests.faults.many_runs import ManyRuns
from tests.faults.supervision import Supervision
from tests.faults.verdict import FrozenWatch, is_quiet, rows_of, what_is_left
from workers.cli.kinds import WorkerKind

CALM_SECONDS = 45.0
WORKERS = "workers"  # the role
# Each is a worker that broke, or a message that was not understood: no fault of a storm explains it.
BROKEN = ("drain.broken", "agent.broken", "message.set-aside", "message.refused", "image.left-behind")
# An engine's command that takes up to 90 ms, and fails once in ten times.
UNSURE = ["sh", "-c", "n=$(date +%N); sleep 0.0${n%????????}; [ ${n#????????} != 7 ]"]


@dataclass(frozen=True, slots=True)
class Storm:
    """A system and its runs."""

    settings: Settings
    servers: Servers
    workers: Supervision
    watch: FrozenWatch
    runs: ManyRuns
    seed: int
    ways: list[LosingProxy]

    def begin(self, *, waits: int, workers: int = 1) -> None:
        """Start the workers, then the waits: so many for each run."""
        for kind in (WorkerKind.CHECKPOINT, WorkerKind.RESUME, WorkerKind.SWEEPER):
            self.workers.start(kind, count=workers)
        wait_until(lambda: self.workers.logged("node.appeared"), seconds=60)
        self.watch.start()
        self.runs.begin(waits=waits)

    def judge(self) -> None:
        """Wait until it is calm, then hold everything to what was promised."""
        try:
            wait_until(self.runs.are_at_rest, seconds=CALM_SECONDS)
            wait_until(
                lambda: self.runs.platform.answer_all() is None and is_quiet(self.settings), seconds=CALM_SECONDS
            )
        except AssertionError as error:
            late = [life.run for life in self.runs.lives if len(life.went_on_at) + len(life.ended) < life.waits]
            told = [f"{run.id} stands: {run.stands}; {rows_of(self.settings, run.id)}" for run in late]
            raise AssertionError("\n".join([str(error), str(what_is_left(self.settings)), *told])) from error
        assert self.runs.problems == []
        assert self.watch.problems == []
        assert self.watch.looks > 0
        for life in self.runs.lives:
            assert life.is_in_order(), f"{life.run.id} went on from {life.went_on_from()} of {life.waits}"
            assert life.run.lives
            assert not life.run.stands
        assert self.workers.logged(*BROKEN) == []

    def _is_quiet(self) -> bool:
        self.runs.platform.answer_all()
        return is_quiet(self.settings)

    def figures(self) -> str:
        """Return what it was."""
        late = self.runs.lateness()
        return (
            f"seed {self.seed}: {self.runs.gone_on()} waits went on, continuations sent "
            f"{dict(self.runs.platform.modes)}; workers started {self.workers.starts()} times; looks at frozen runs "
            f"{self.watch.looks}; late in seconds: median {late[len(late) // 2]:.2f}, "
            f"99 % {late[len(late) * 99 // 100]:.2f}, worst {late[-1]:.2f}"
        )


@contextmanager
def a_storm(
    settings: Settings, folder: Path, *, runs: int, is_rough: bool = False, is_far: bool = False
) -> Generator[Storm]:
    """Servers that may be killed, workers that are started again, runs that wait once they are told to.

    Args:
        settings: But for the servers.
        folder: For all files.
        runs: How many.
        is_far: The workers reach the servers on ways that may be cut, and Postgres as a role of their own.
        is_rough: Also: answers that are lost, an engine that takes its time and fails, cancels.
    """
    # Set CHAOS_SEED to have the same again, as far as threads allow.
    seed = int(os.environ.get("CHAOS_SEED", "0")) or Random().randrange(1, 10**6)
    servers = start_servers(folder / "servers")
    with ExitStack() as stack:
        stack.callback(servers.stop)
        migrate(servers.database_url)
        near = _at(settings, servers.database_url, servers.broker_url)
        far, ways = near, list[LosingProxy]()
        if is_rough or is_far:
            database_url = as_workers(servers.database_url) if is_far else servers.database_url
            ways = [LosingProxy(url) for url in (database_url, servers.broker_url)]
            far = _at(settings, *(way.url for way in ways))
            if is_rough:
                far = far.model_copy(update={"simulate_command": UNSURE})
            for way in ways:
                stack.callback(way.close)
        workers = Supervision(far, folder / "logs")
        stack.callback(workers.stop)
        many = ManyRuns(near, folder / "ledgers", count=runs, seed=seed, cancels=is_rough)
        stack.callback(many.close)
        watch = FrozenWatch(near)
        stack.callback(watch.stop)
        yield Storm(near, servers, workers, watch, many, seed, ways)


def as_workers(database_url: str) -> str:
    """Make a role of the workers, whom a limit can shut out as it cannot a superuser; return its URL."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        owner = conn.info.user
        conn.execute(f"CREATE ROLE {WORKERS} LOGIN PASSWORD '{WORKERS}' IN ROLE {owner}".encode())
    where = urlsplit(database_url)
    return urlunsplit(where._replace(netloc=f"{WORKERS}:{WORKERS}@{where.hostname}:{where.port}"))


def _at(settings: Settings, database_url: str, broker_url: str) -> Settings:
    urls = {"database_url": SecretStr(database_url), "broker_url": SecretStr(broker_url)}
    return settings.model_copy(update=urls)

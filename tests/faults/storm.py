"""A storm: a system on servers of its own whose workers are started again, runs that wait in it, and the verdict."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pydantic import SecretStr
from servers import Servers, start_servers
from waiting import wait_until

from shared.db.migrate import migrate
from shared.settings import Settings
from tests.faults.many_runs import ManyRuns
from tests.faults.supervision import Supervision
from tests.faults.verdict import FrozenWatch, is_quiet, rows_of, what_is_left
from workers.cli.kinds import WorkerKind

CALM_SECONDS = 45.0
# Each is a worker that broke, or a message that was not understood: no fault of a storm explains it.
BROKEN = ("drain.broken", "agent.broken", "message.set-aside", "message.refused", "image.left-behind")


@dataclass(frozen=True, slots=True)
class Storm:
    """A system and its runs."""

    settings: Settings
    servers: Servers
    workers: Supervision
    watch: FrozenWatch
    runs: ManyRuns
    seed: int

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
            late = [life.run for life in self.runs.lives if len(life.went_on_at) < life.waits]
            told = [f"{run.id} stands: {run.stands}; {rows_of(self.settings, run.id)}" for run in late]
            raise AssertionError("\n".join([str(error), str(what_is_left(self.settings)), *told])) from error
        assert self.runs.problems == []
        assert self.watch.problems == []
        assert self.watch.looks > 0
        for life in self.runs.lives:
            assert life.went_on_from() == list(range(1, life.waits + 1)), life.run.id
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
def a_storm(settings: Settings, folder: Path, *, runs: int) -> Generator[Storm]:
    """Servers that may be killed, workers that are started again, runs that wait once they are told to."""
    # Set CHAOS_SEED to have the same again, as far as threads allow.
    seed = int(os.environ.get("CHAOS_SEED", "0")) or Random().randrange(1, 10**6)
    servers = start_servers(folder / "servers")
    try:
        migrate(servers.database_url)
        urls = {"database_url": SecretStr(servers.database_url), "broker_url": SecretStr(servers.broker_url)}
        own = settings.model_copy(update=urls)
        many = ManyRuns(own, folder / "ledgers", count=runs, seed=seed)
        one = Storm(own, servers, Supervision(own, folder / "logs"), FrozenWatch(own), many, seed)
        try:
            yield one
        finally:
            one.watch.stop()
            many.close()
            one.workers.stop()
    finally:
        servers.stop()

"""What goes wrong in a storm; each is counted, so that a storm that did nothing is seen."""

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from threading import Event, Timer
from typing import Any

import psycopg
from redis import RedisError
from servers import Servers

from shared.broker import connect, run
from shared.settings import Settings
from tests.faults.losing_proxy import LosingProxy
from tests.faults.supervision import Supervision
from workers.cli.kinds import WorkerKind

# Longer than the leases of the storm's settings and than a drain's.
STAND_SECONDS = 8.0
FULL_SECONDS = 2.0
ANSWERS = ([b"COMMIT", b"UPDATE 1"], [b"dependency.complete", b"checkpoint.defer", b"checkpoint.take", b":1"])


class Nemeses:
    """All that may go wrong with a system whose servers are its own.

    Args:
        settings: Of the system.
        servers: Of the system.
        workers: Started again when they end.
        ways: Of the workers to Postgres and to Redis; empty for straight ones.
        random: Which worker, which answer.
    """

    def __init__(
        self,
        settings: Settings,
        servers: Servers,
        workers: Supervision,
        *,
        ways: Sequence[LosingProxy],
        random: Random,
    ) -> None:
        self._settings = settings
        self._servers = servers
        self._workers = workers
        self._ways = ways
        self._random = random
        self._never = Event()
        self.count: Counter[str] = Counter()
        self.away_seconds: Sequence[float] = (0.0,)  # of which a server stays away
        self._held: list[Timer] = []

    @property
    def plain(self) -> list[Callable[[], None]]:
        """What the gate has to survive: kills one at a time, Redis emptied, Postgres gone at once and back."""
        return [
            self.kill_checkpoint_worker,
            self.kill_resume_worker,
            self.kill_sweeper,
            self.empty_redis,
            self.restart_postgres,
        ]

    @property
    def all(self) -> list[Callable[[], None]]:
        """What a long storm has besides."""
        return [
            *self.plain,
            self.hold_checkpoint_worker,
            self.hold_resume_worker,
            self.hold_sweeper,
            self.cut_redis,
            self.cut_postgres,
            self.kill_redis,
            self.fill_redis,
        ]

    def kill_checkpoint_worker(self) -> None:
        """Kill -9 one that takes, restores, registers."""
        self._kill(WorkerKind.CHECKPOINT)

    def kill_resume_worker(self) -> None:
        """Kill -9 one that resumes."""
        self._kill(WorkerKind.RESUME)

    def kill_sweeper(self) -> None:
        """Kill -9 one that sweeps."""
        self._kill(WorkerKind.SWEEPER)

    def empty_redis(self) -> None:
        """Lose every queue, token and held message."""
        with connect(self._settings) as redis:
            run(redis, ("FLUSHALL",))
        self.count["Redis emptied"] += 1

    def restart_postgres(self) -> None:
        """Stop it at once, in the middle of everything, and start it."""
        self._servers.postgres.stop(signal.SIGQUIT)
        self._never.wait(self._random.choice(self.away_seconds))
        self._servers.postgres.start()
        self._servers.postgres.wait_ready()
        self.count["Postgres stopped at once"] += 1

    def kill_redis(self) -> None:
        """Kill -9 it and start it on what it had written."""
        self._servers.redis.kill()
        self._never.wait(self._random.choice(self.away_seconds))
        self._servers.redis.start()
        self._servers.redis.wait_ready()
        self.count["Redis killed"] += 1

    def fill_redis(self) -> None:
        """Have it refuse for a while whatever takes memory."""
        with connect(self._settings) as redis:
            run(redis, ("CONFIG", "SET", "maxmemory", 1))
            self._never.wait(FULL_SECONDS)
            run(redis, ("CONFIG", "SET", "maxmemory", 0))
        self.count["Redis full"] += 1

    def hold_checkpoint_worker(self) -> None:
        """Have one stand still for longer than any lease."""
        self._hold(WorkerKind.CHECKPOINT)

    def hold_resume_worker(self) -> None:
        """Have one stand still for longer than any lease."""
        self._hold(WorkerKind.RESUME)

    def hold_sweeper(self) -> None:
        """Have one stand still."""
        self._hold(WorkerKind.SWEEPER)

    def cut_redis(self) -> None:
        """End every connection to Redis."""
        with connect(self._settings) as redis, suppress(RedisError):
            run(redis, ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        self.count["Redis cut"] += 1

    def cut_postgres(self) -> None:
        """End about half of all connections to Postgres."""
        half = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND random() < 0.5"
        with psycopg.connect(self._settings.database_url.get_secret_value(), autocommit=True) as conn:
            _: Any = conn.execute(half + " AND backend_type = 'client backend'")
        self.count["Postgres cut"] += 1

    def lose_answers(self) -> None:
        """Have answers get lost: of Postgres to a commit or an update, of Redis to anything."""
        for way, answers in zip(self._ways, ANSWERS, strict=True):
            way.lose_answer(self._random.choice(answers))
        self.count["answers lost"] += 1

    def calm(self) -> None:
        """Wait until every worker that was held goes on."""
        for held in self._held:
            held.join()

    def _kill(self, kind: WorkerKind) -> None:
        self._workers.kill(kind, self._random)
        self.count[f"{kind} killed"] += 1

    def _hold(self, kind: WorkerKind) -> None:
        process = self._workers.hold(kind, self._random)
        # Meanwhile other things go wrong.
        held = Timer(STAND_SECONDS, process.send_signal, [signal.SIGCONT])
        held.start()
        self._held.append(held)
        self.count[f"{kind} held"] += 1

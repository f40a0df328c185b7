"""What must hold of a storm: all the time, and once it is quiet."""

from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import psycopg
from redis import RedisError

from shared.broker import Keys, connect, run
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES, checkpoints_queue
from shared.settings import Settings
from tests.faults.doors import RECEIPTS
from workers.engines.processes import PROC, read_stat

FROZEN = """
SELECT id, epoch, (workload ->> 'pid')::int, (workload ->> 'started_at_ticks')::bigint, workload ->> 'engine'
  FROM checkpoint WHERE status IN ('accepted', 'restoring')
"""
GONE = "gone"
# A run of `process` stands until it is killed; one that dies is at work for a moment.
ALLOWED = {"simulate": {"T"}, "process": {"T", GONE, "Z", "X", "D", "R"}}
LEFT = {
    "checkpoints with a duty": "SELECT count(*) FROM checkpoint c WHERE has_duty(c)",
    "checkpoints to look at": "SELECT count(*) FROM checkpoint WHERE look_at IS NOT NULL",
    "waits to look at": "SELECT count(*) FROM dependency WHERE look_at IS NOT NULL",
    "waits not resumed": "SELECT count(*) FROM dependency WHERE resumed_at IS NULL AND cancelled_at IS NULL",
    "continuations not done": "SELECT count(*) FROM dependency WHERE done_at IS NULL AND cancelled_at IS NULL",
}


def what_is_left(settings: Settings) -> dict[str, int]:
    """Return what a system still has to do: rows, and messages by queue."""
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        left = {name: conn.execute(query.encode()).fetchall()[0][0] for name, query in LEFT.items()}
    keys = Keys(settings.key_prefix)
    queues = (DEFERRALS, RESUMES, checkpoints_queue(settings.node), CONTINUATIONS, RECEIPTS)
    with connect(settings) as redis:
        for queue in queues:
            left[f"on {queue}"] = _number(run(redis, ("LLEN", keys.queue(queue))))
        left["held"] = _number(run(redis, ("ZCARD", keys.held_due)))
        taken: Any = run(redis, ("KEYS", keys.taken("*", "*")))[0]
        left["taken and not acknowledged"] = sum(_number(run(redis, ("LLEN", key))) for key in taken)
    return {name: count for name, count in left.items() if count}


def is_quiet(settings: Settings) -> bool:
    """Return whether nothing is left to do."""
    try:
        return not what_is_left(settings)
    except (psycopg.Error, RedisError):
        return False


def rows_of(settings: Settings, run_id: str) -> list[str]:
    """Return everything that Postgres has of a run, for whoever has to find out what went wrong."""
    query = (
        "SELECT to_jsonb(d) - 'workload' - 'digest' || jsonb_build_object('checkpoint', to_jsonb(c) - 'workload') "
        "FROM dependency d LEFT JOIN checkpoint c ON c.dependency_id = d.id "
        "WHERE d.run_id = %s AND d.done_at IS NULL ORDER BY d.wait_number"
    )
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        return [str(row) for (row,) in conn.execute(query, [run_id]).fetchall()]


@dataclass(slots=True)
class FrozenWatch:
    """Looks all the time whether each run with an accepted checkpoint stands still.

    Args:
        settings: Of the system.
    """

    settings: Settings
    looks: int = 0
    problems: list[str] = field(default_factory=list[str])
    _stopping: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = Thread(target=self._watch, name="frozen watch")
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self.settings.database_url.get_secret_value(), autocommit=True) as conn:
                    while not self._stopping.wait(0.05):
                        self._look(conn)
            except psycopg.Error:
                self._stopping.wait(0.2)

    def _look(self, conn: psycopg.Connection[Any]) -> None:
        # Frozen before the look and after it by the same claim: frozen at the look too.
        before = conn.execute(FROZEN).fetchall()
        states = {row: _state(row[2], row[3]) for row in before}
        after = set(conn.execute(FROZEN).fetchall())
        for row, state in states.items():
            if row in after:
                self.looks += 1
                if state not in ALLOWED[row[4]]:
                    self.problems.append(f"checkpoint {row[0]}, epoch {row[1]}: its process {row[2]} is {state}")


def _state(pid: int, started_at_ticks: int) -> str:
    stat = read_stat(PROC / str(pid))
    return stat.state if stat and stat.started_at_ticks == started_at_ticks else GONE


def _number(answers: list[object]) -> int:
    (answer,) = answers
    assert isinstance(answer, int)
    return answer

"""What a person asks of runs: which there are, what one is doing, what happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import class_row

from shared.db.statements import only, statement

# In the order of a wait's life; `wait_state` in migration 0014 says which is which.
STATES: Final = {
    "waiting": "no checkpoint will be taken",
    "deferred": "its checkpoint is due later",
    "taking": "its checkpoint is being taken",
    "asking": "its run was asked whether it may be frozen",
    "retrying": "a try failed, another comes",
    "frozen": "its checkpoint was accepted",
    "ending": "what it waited for is over, the resume is near",
    "restoring": "it is being brought back",
    "lost": "it was frozen, and nothing is left that could be restored",
    "continuing": "its continuation is sent until it is answered",
    "done": "it went on",
    "cancelled": "it was ended and gets no continuation",
}
ENDED: Final = frozenset({"done", "cancelled"})


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run by its newest wait."""

    run_id: str
    attempt: int
    wait_number: int
    state: str
    reason: str
    node: str
    engine: str
    dependency_id: str
    registered_at: datetime
    due_at: datetime | None
    resume_at: datetime | None
    frozen_since: datetime | None  # we keep it still since then; None: it runs, as far as we know
    error: str | None
    node_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait of a run, as it stands."""

    run_id: str
    attempt: int
    wait_number: int
    state: str
    reason: str
    dependency_id: str
    key: str | None
    workload: dict[str, Any]
    registered_at: datetime
    delay_ms: int
    delay_from: str
    why: str | None
    due_at: datetime | None
    resume_at: datetime | None
    open_items: int | None
    outcome_type: str | None
    reply_to: str
    sends: int
    checkpoint_id: int | None
    checkpoint_status: str | None
    epoch: int | None
    tries: int | None
    location: str | None
    image_bytes: int | None
    phases: dict[str, int] | None
    error: str | None
    frozen_since: datetime | None
    node_seen_at: datetime | None
    called_off_for: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One moment of a run; one in the future is still to come."""

    wait_number: int
    at: datetime
    event: str
    detail: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Which:
    """Which runs are asked for; None: any.

    Args:
        before: The moment and the id of the last run of the page before.
    """

    states: Sequence[str] | None = None
    reason: str | None = None
    node: str | None = None
    older_than: timedelta | None = None
    before: tuple[datetime, str] | None = None


def listed(conn: Connection[Any], which: Which, *, limit: int) -> list[RunLine]:
    """Return runs by their newest wait, the newest first."""
    before_at, before_run = which.before or (None, None)
    values = {
        "states": list(which.states) if which.states else None,
        "reason": which.reason,
        "node": which.node,
        "older_than": which.older_than,
        "before_at": before_at,
        "before_run": before_run,
        "limit": limit,
    }
    with conn.cursor(row_factory=class_row(RunLine)) as cursor:
        return cursor.execute(statement("run/list"), values).fetchall()


def waits(conn: Connection[Any], run_id: str) -> list[Wait]:
    """Return a run's waits, the oldest first; none: the run is not known, or no longer kept."""
    with conn.cursor(row_factory=class_row(Wait)) as cursor:
        return cursor.execute(statement("run/waits"), {"run_id": run_id}).fetchall()


def timeline(conn: Connection[Any], run_id: str) -> list[Event]:
    """Return what happened to a run and what is to come, in the order of time."""
    with conn.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(statement("run/timeline"), {"run_id": run_id}).fetchall()


def clock(conn: Connection[Any]) -> datetime:
    """Return Postgres' time: the one by which a moment is past or to come."""
    return only(conn.execute(statement("run/clock")).fetchone())

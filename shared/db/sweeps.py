"""What a sweep finds: rows whose time to be looked at has come, each with what it calls for."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row

from shared.db.statements import only, statement


@dataclass(frozen=True, slots=True)
class Due:
    """A row to look at, moved on to its next look already."""

    id: str
    run_id: str
    attempt: int
    wait_number: int
    node: str
    traceparent: str | None
    calls_for: Literal["nothing", "later", "node", "take", "complete", "seal", "resume", "continue"]
    countdown: timedelta | None
    revoked_for: str | None = None  # a cancel came while the checkpoint is being taken


def dependencies(conn: Connection[Any], *, limit: int) -> list[Due]:
    """Return waits to look at now, at most `limit`; a time that is over is completed by it."""
    with conn.cursor(row_factory=class_row(Due)) as cur:
        return cur.execute(statement("sweep/dependencies"), {"limit": limit}).fetchall()


def checkpoints(conn: Connection[Any], *, limit: int) -> list[Due]:
    """Return checkpoints to look at now, at most `limit`."""
    with conn.cursor(row_factory=class_row(Due)) as cur:
        return cur.execute(statement("sweep/checkpoints"), {"limit": limit}).fetchall()


def seconds_to_next(conn: Connection[Any]) -> float | None:
    """Return how long until a row has to be looked at, in seconds (below 0: it is late); None: none has to."""
    return only(conn.execute(statement("sweep/next")).fetchone())

"""What `checkpoints doctor` asks Postgres."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from shared.db.statements import only, statement


@dataclass(frozen=True, slots=True)
class SeenNode:
    """When a node was last seen, and its engines."""

    silent_for: timedelta
    engines: list[str]


def clock(conn: Connection[Any]) -> datetime:
    """Return the time of Postgres' machine."""
    return only(conn.execute(statement("doctor/clock")).fetchone())


def is_read_only(conn: Connection[Any]) -> bool:
    """Return whether nothing can be written here."""
    return only(conn.execute(statement("doctor/is_read_only")).fetchone())


def node(conn: Connection[Any], name: str) -> SeenNode | None:
    """Return what is known of a node; None: it was never seen."""
    with conn.cursor(row_factory=class_row(SeenNode)) as cursor:
        return cursor.execute(statement("doctor/node"), {"name": name}).fetchone()


def latest(conn: Connection[Any]) -> timedelta | None:
    """Return for how long the row that is most overdue has waited to be looked at; None: there is none."""
    return only(conn.execute(statement("doctor/latest")).fetchone())


def left_behind(conn: Connection[Any], *, patience: timedelta) -> dict[str, int]:
    """Return how much is left of runs that went on or are over, by why it is still there.

    Args:
        conn: Any.
        patience: How long workers usually take to remove it.
    """
    return dict(conn.execute(statement("doctor/left_behind"), {"patience": patience}).fetchall())

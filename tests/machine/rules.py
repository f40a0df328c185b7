"""The rules as a state machine asks for them after each step: what must never be, and what must never be taken back."""

from pathlib import Path
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import dict_row

_RULES: Final = Path(__file__).with_name("rules.sql").read_bytes()
_ROWS: Final = b"""
    SELECT d.*, c.status, c.freed_at, c.accepted_at FROM dependency d LEFT JOIN checkpoint c ON c.dependency_id = d.id
     WHERE d.run_id IS NOT NULL"""
# Once said, never unsaid: of a moment only that it is there, of the rest what it is.
_STAY: Final = ("registered_at", "completed_at", "resumed_at", "cancelled_at", "called_off_at", "done_at")
_KEEP: Final = ("run_id", "attempt", "wait_number", "reason", "outcome", "outcome_type", "checkpoint_id")

Rows = dict[str, dict[str, Any]]


def broken(conn: Connection[Any]) -> list[tuple[str, str]]:
    """Return each rule that the rows break, with the wait that breaks it."""
    return conn.execute(_RULES).fetchall()


def waits(conn: Connection[Any]) -> Rows:
    """Return every registered wait with its checkpoint."""
    return {row["id"]: row for row in conn.cursor(row_factory=dict_row).execute(_ROWS)}


def taken_back(before: Rows, after: Rows) -> list[str]:
    """Return what was said of a wait before a step and is not said of it after."""
    gone = [f"{id_} is gone" for id_ in before.keys() - after.keys()]
    for id_ in before.keys() & after.keys():
        was, now = before[id_], after[id_]
        gone += [f"{id_}: {name} is null again" for name in _STAY if was[name] is not None and now[name] is None]
        gone += [
            f"{id_}: {name} was {was[name]!r} and is {now[name]!r}"
            for name in _KEEP
            if was[name] is not None and was[name] != now[name]
        ]
    return gone

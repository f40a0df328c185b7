"""Messages that were refused, kept for a while."""

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg import Connection

from shared.db.raw_json import array
from shared.db.statements import statement


class Rejection(msgspec.Struct, frozen=True):
    """A refused message: where it came from, what it was, why."""

    queue: str
    code: str
    problem: str
    raw: bytes
    message: str | None = None
    message_id: str | None = None
    run_id: str | None = None
    dependency_id: str | None = None
    facts: dict[str, Any] = {}


def keep(conn: Connection[Any], rejections: Sequence[Rejection]) -> int:
    """Keep refused messages; return how many."""
    # Bytes become base64. A name that its sender chose may hold a NUL, which Postgres cannot: shown as U+FFFD.
    bodies = (msgspec.json.encode(one).replace(rb"\u0000", rb"\ufffd") for one in rejections)
    return conn.execute(statement("rejection/keep"), {"rejections": array(bodies)}).rowcount


def prune(conn: Connection[Any], *, keep: int) -> int:
    """Delete all but the newest; return how many."""
    return conn.execute(statement("rejection/prune"), {"keep": keep}).rowcount


def reply_to(conn: Connection[Any], *, run_id: str | None, dependency_id: str | None) -> str | None:
    """Return where the wait that a refused message names gets its continuations; None: no such wait."""
    row = conn.execute(statement("rejection/reply_to"), {"run_id": run_id, "dependency_id": dependency_id}).fetchone()
    return row[0] if row else None

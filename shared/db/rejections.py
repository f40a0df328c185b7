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
    # Bytes become base64. Postgres knows no NUL, and the words of a refused message may have one.
    bodies = (msgspec.json.encode(one).replace(b"\\u0000", b"\\ufffd") for one in rejections)
    return conn.execute(statement("rejection/keep"), {"rejections": array(bodies)}).rowcount


def prune(conn: Connection[Any], *, keep: int) -> int:
    """Delete all but the newest; return how many."""
    return conn.execute(statement("rejection/prune"), {"keep": keep}).rowcount


def reply_to(conn: Connection[Any], *, run_id: str | None, dependency_id: str | None) -> str | None:
    """Return where the wait that a refused message names gets its continuations; None: no such wait."""
    row = conn.execute(statement("rejection/reply_to"), {"run_id": run_id, "dependency_id": dependency_id}).fetchone()
    return row[0] if row else None

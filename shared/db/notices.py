"""Notices from the SQL door: something is to be looked at now."""

from typing import Any

from psycopg import Connection

from shared.db.statements import statement


def listen(conn: Connection[Any]) -> None:
    """Have this connection hear of what the SQL door wrote."""
    conn.execute(statement("sweep/listen"))


def wait_for_notice(conn: Connection[Any], *, seconds: float) -> bool:
    """Wait until a notice comes, at most this long; False: none came."""
    return any(True for _ in conn.notifies(timeout=seconds, stop_after=1))

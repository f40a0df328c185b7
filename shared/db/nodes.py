"""The machines that take checkpoints."""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from shared.db.statements import only, statement


def seen(conn: Connection[Any], name: str, *, engines: list[str], silent: timedelta) -> bool:
    """Write down that a node lives; True: it is new, was silent, or offers other engines now."""
    return only(conn.execute(statement("node/seen"), {"name": name, "engines": engines, "silent": silent}).fetchone())


def wake(conn: Connection[Any], name: str) -> int:
    """Have the open waits and the checkpoints of a node looked at now; return how many."""
    waits = conn.execute(statement("node/wake"), {"name": name}).rowcount
    return waits + conn.execute(statement("node/wake_checkpoints"), {"name": name}).rowcount

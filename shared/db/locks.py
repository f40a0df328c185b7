"""How long a transaction waits for the locks of others: an upstream's may be open for as long as it likes."""

from datetime import timedelta
from typing import Any

from psycopg import Connection
from psycopg.errors import LockNotAvailable

from shared.db.statements import statement


def limit(conn: Connection[Any], longest: timedelta) -> None:
    """Have the statements of the caller's transaction fail with an error of the moment once one waited so long."""
    milliseconds = longest // timedelta(milliseconds=1)
    conn.execute(statement("lock/limit"), {"limit": f"{milliseconds}ms"})


def is_blocked(error: BaseException) -> bool:
    """Return whether a lock of another transaction was waited for too long: nothing was written."""
    return isinstance(error, LockNotAvailable)

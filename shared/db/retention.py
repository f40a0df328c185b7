"""Deleting what is finished for long, in batches."""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from shared.db.statements import only, statement


def retire_waits(conn: Connection[Any], *, keep: timedelta, limit: int) -> int:
    """Delete waits that are done or cancelled for longer than `keep`, with their checkpoints; return how many."""
    return only(conn.execute(statement("retire/waits"), {"keep": keep, "limit": limit}).fetchone())


def retire_early(conn: Connection[Any], *, keep: timedelta, limit: int) -> int:
    """Delete what was said of waits that have not come for longer than `keep`; return how many."""
    return only(conn.execute(statement("retire/early"), {"keep": keep, "limit": limit}).fetchone())


def retire_marks(conn: Connection[Any], *, keep: timedelta, limit: int) -> int:
    """Delete marks of runs that were raised last longer ago than `keep`; return how many."""
    return conn.execute(statement("retire/marks"), {"keep": keep, "limit": limit}).rowcount

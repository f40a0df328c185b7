"""The machines that take checkpoints: seen, and silent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from shared.db.statements import only, statement


@dataclass(frozen=True, slots=True)
class Silence:
    """A node that is not seen any more, since a moment."""

    name: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """A wait whose run is on a silent node, and nowhere else."""

    id: str
    run_id: str
    attempt: int
    wait_number: int
    reply_to: str
    traceparent: str | None
    workload: dict[str, Any]


def seen(conn: Connection[Any], name: str, *, engines: list[str], silent: timedelta) -> bool:
    """Write down that a node lives; True: it is new, was silent, or offers other engines now."""
    return only(conn.execute(statement("node/seen"), {"name": name, "engines": engines, "silent": silent}).fetchone())


def wake(conn: Connection[Any], name: str) -> int:
    """Have the waits and the checkpoints of a node looked at now; return how many."""
    names = ("node/wake", "node/wake_checkpoints", "node/wake_restores")
    return sum(conn.execute(statement(one), {"name": name}).rowcount for one in names)


def fall_silent(conn: Connection[Any], *, lease: timedelta) -> list[Silence]:
    """Return nodes of whose silence upstreams are to be told, by this caller alone until the lease is over.

    Frozen runs of theirs whose wait is over are looked at now: another node may bring them back.
    """
    with conn.cursor(row_factory=class_row(Silence)) as cur:
        silences = cur.execute(statement("node/fall_silent"), {"lease": lease}).fetchall()
    for one in silences:
        conn.execute(statement("node/wake_restores"), {"name": one.name})
    return silences


def out_of_reach(conn: Connection[Any], name: str, *, after: str, limit: int) -> list[OutOfReach]:
    """Return open waits whose run only a silent node has, by run behind `after`, at most `limit`."""
    with conn.cursor(row_factory=class_row(OutOfReach)) as cur:
        return cur.execute(statement("node/unreachable"), {"name": name, "after": after, "limit": limit}).fetchall()


def told(conn: Connection[Any], silence: Silence) -> bool:
    """Write down that upstreams heard of a silence. False: the node was seen meanwhile."""
    return conn.execute(statement("node/told"), {"name": silence.name, "seen_at": silence.seen_at}).rowcount == 1

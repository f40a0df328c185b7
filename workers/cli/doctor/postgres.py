"""Postgres: can it be reached, does it have our schema, do its clock and its rows look right."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import Connection

from shared.db import doctor
from shared.db.migrate import pending
from shared.db.pool import connect
from shared.errors import Unreachable
from shared.settings import Settings
from workers.cli.doctor.line import Line, Verdict

OLDEST_TRIED: Final = 150_000  # as Postgres numbers its versions
SKEW_MAX: Final = timedelta(seconds=2)
LATE_MAX: Final = timedelta(seconds=30)
REMOVED_WITHIN: Final = timedelta(minutes=1)


def postgres_lines(settings: Settings) -> Iterator[Line]:
    """Say what Postgres is, and what it says of the nodes and of work that is late.

    Raises:
        Unreachable: It does not answer.
    """
    try:
        conn = connect(settings, name="doctor")
    except psycopg.OperationalError as error:
        raise Unreachable(f"{str(error).strip()}. Check CHECKPOINT_DATABASE_URL.") from error
    with conn:
        yield _version(conn)
        yield _skew(conn)
        yield _writable(conn)
        missing = pending(conn)
        if missing:
            names = ", ".join(one.name for one in missing)
            yield Line("schema", Verdict.FAIL, f"lacks {names}", "Run `checkpoints migrate`.")
            return
        yield Line("schema", Verdict.OK, "up to date")
        yield _node(conn, settings)
        yield _late(conn)
        yield _left_behind(conn)


def _version(conn: Connection[Any]) -> Line:
    number = conn.info.server_version
    text = f"{number // 10_000}.{number % 10_000}"
    if number < OLDEST_TRIED:
        return Line("postgres", Verdict.WARN, text, f"Tried with {OLDEST_TRIED // 10_000} and later only; upgrade.")
    return Line("postgres", Verdict.OK, text)


def _skew(conn: Connection[Any]) -> Line:
    before = datetime.now(UTC)
    theirs = doctor.clock(conn)
    after = datetime.now(UTC)
    skew = max(theirs - after, before - theirs, timedelta(0))
    found = f"{skew.total_seconds():.3f} s apart"
    if skew > SKEW_MAX:
        return Line(
            "clock",
            Verdict.WARN,
            found,
            "Postgres' clock decides, so takes come early or late by this; run NTP on both.",
        )
    return Line("clock", Verdict.OK, found)


def _writable(conn: Connection[Any]) -> Line:
    if doctor.is_read_only(conn):
        return Line("postgres writes", Verdict.FAIL, "read-only", "Name the primary in CHECKPOINT_DATABASE_URL.")
    return Line("postgres writes", Verdict.OK, "allowed")


def _node(conn: Connection[Any], settings: Settings) -> Line:
    seen = doctor.node(conn, settings.node)
    about = f"node {settings.node}"
    if seen is None:
        return Line(about, Verdict.WARN, "never seen", "Start `checkpoints worker checkpoint` on it.")
    found = f"seen {seen.silent_for.total_seconds():.1f} s ago, offers {', '.join(seen.engines) or 'nothing'}"
    if seen.silent_for > timedelta(milliseconds=settings.node_silent_ms):
        return Line(about, Verdict.FAIL, found, "No checkpoint worker of it runs; its frozen runs wait. Start one.")
    return Line(about, Verdict.OK, found)


def _late(conn: Connection[Any]) -> Line:
    late = doctor.latest(conn)
    if late is not None and late > LATE_MAX:
        return Line(
            "sweeper",
            Verdict.FAIL,
            f"a row has waited for {late.total_seconds():.0f} s to be looked at",
            "Start `checkpoints worker sweeper`, or more of them.",
        )
    return Line("sweeper", Verdict.OK, "no row waits to be looked at")


def _left_behind(conn: Connection[Any]) -> Line:
    left = doctor.left_behind(conn, patience=REMOVED_WITHIN)
    if left:
        return Line(
            "left behind",
            Verdict.WARN,
            "; ".join(f"{why}: {count}" for why, count in left.items()),
            "It is tried again with growing gaps. Look for image.left-behind and agent.unsettled in the logs of the "
            "checkpoint workers.",
        )
    return Line("left behind", Verdict.OK, "nothing of runs that went on or are over")

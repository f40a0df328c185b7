"""The sweeper: level-triggered over `look_at`, the only clock of time waits. Any number may run at once."""

import time
from threading import Event
from typing import Any, Final

import structlog
from psycopg import Connection
from redis import RedisError

from shared.connections import Connections
from shared.db.moment import is_of_the_moment
from shared.db.notices import listen, wait_for_notice
from shared.db.pool import connect
from shared.db.sweeps import seconds_to_next
from shared.pulse import Pulse
from workers.sweeper.sweeps import (
    ROWS,
    require_room,
    retire,
    sweep_checkpoints,
    sweep_rejected,
    sweep_silences,
    sweep_waits,
)

ROUNDS: Final = 20  # of 500 rows; then the others have their turn
AWAY_SECONDS: Final = 0.5
RETIRE_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


def pulse_for(at: Connections) -> Pulse:
    """Return the pulse of a sweeper's loop, which sleeps a period between two turns."""
    return Pulse("the sweeper", limit_seconds=(at.settings.health_limit_ms + at.settings.sweep_period_ms) / 1000)


def run(at: Connections, stopping: Event, pulse: Pulse) -> None:
    """Sweep until told to stop; a server that is away is waited out."""
    conn: Connection[Any] | None = None
    retired_at = -RETIRE_SECONDS
    while not stopping.is_set():
        try:
            if conn is None or conn.closed:
                conn = connect(at.settings, name="sweeper")
                listen(conn)
                log.info("sweeper.started")
            turn(at, conn)
            if time.monotonic() - retired_at >= RETIRE_SECONDS:
                # A full batch has another behind it: the next turn goes on.
                retired_at = -RETIRE_SECONDS if retire(at, conn) >= ROWS else time.monotonic()
            waited = pulse.turned()
            if waited is not None:
                log.info("sweeper.back", seconds=round(waited, 1))
            wait_for_notice(conn, seconds=_pause(at, conn))
        except Exception as error:
            if not (isinstance(error, RedisError) or is_of_the_moment(error)):
                raise
            waited = pulse.waits(error)
            if waited is not None:
                log.warning("sweeper.waiting", error=str(error).strip(), seconds=round(waited, 1))
            stopping.wait(AWAY_SECONDS)
    if conn is not None:
        conn.close()


def turn(at: Connections, conn: Connection[Any]) -> int:
    """Look at everything whose time has come, within the limit of a turn; return how many rows that were.

    Raises:
        RedisError: Redis takes no messages now. No row was moved on to a later look for nothing.
    """
    # Each look that sends in vain doubles the time to the next: after half a minute without Redis that is another.
    require_room(at)
    started = time.monotonic()
    # First: it has the frozen runs of a node that fell silent looked at now.
    count = sweep_silences(at, conn)
    for sweep in (sweep_waits, sweep_checkpoints):
        for _ in range(ROUNDS):
            found = sweep(at, conn)
            count += found
            if not found:
                break
        else:
            log.warning("sweep.limit-reached", sweep=sweep.__name__, rows=count)
    count += sweep_rejected(at, conn)
    log.debug("sweep.done", rows=count, seconds=round(time.monotonic() - started, 3))
    return count


def _pause(at: Connections, conn: Connection[Any]) -> float:
    longest = at.settings.sweep_period_ms / 1000
    next_look = seconds_to_next(conn)
    return longest if next_look is None else max(0.0, min(longest, next_look))

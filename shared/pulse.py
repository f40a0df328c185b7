"""The pulse of a loop: when it last turned, and which server it waits for. The process's heartbeat is made of it.

A process may live, answer signals and do nothing. So each loop that does the work says itself that it turned; one that
waits for a server that is away turns all the same.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from redis import RedisError

# After the first line of an outage the next come after 1, 2, 4 ... seconds, then each of these.
TELL_FIRST_SECONDS: Final = 1.0
TELL_LONGEST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a loop finds.

    Args:
        turns: The loop has turned in time, if only to wait.
        problem: Why it cannot do its work now; None: it can.
    """

    turns: bool
    problem: str | None


@dataclass(slots=True)
class _Outage:
    server: str
    why: str
    since: float
    tell_at: float
    gap: float = TELL_FIRST_SECONDS


class Pulse:
    """What a loop says of itself. The loop writes, any thread may look.

    Args:
        name: Of the loop, for people.
        limit_seconds: A loop that has not turned for longer stands.
    """

    def __init__(self, name: str, *, limit_seconds: float) -> None:
        self.name = name
        self._limit = limit_seconds
        self._turned_at = time.monotonic()
        self._has_turned = False
        self._outage: _Outage | None = None

    def turned(self) -> float | None:
        """Say that a turn's work is done; return for how many seconds it had waited for a server, if it had."""
        now = time.monotonic()
        outage, self._outage = self._outage, None
        self._has_turned, self._turned_at = True, now
        return None if outage is None else now - outage.since

    def waits(self, error: BaseException) -> float | None:
        """Say that a turn's work could not be done since a server is away.

        Returns:
            For how many seconds, if that is worth a line in the log now; None if one was written lately.
        """
        now = time.monotonic()
        self._turned_at = now
        # One server after another is one outage: what people ask is since when nothing goes on.
        outage = self._outage or _Outage("", "", since=now, tell_at=now)
        outage.server = "Redis" if isinstance(error, RedisError) else "Postgres"
        outage.why = " ".join(str(error).split())
        self._outage = outage
        if now < outage.tell_at:
            return None
        outage.tell_at = now + outage.gap
        outage.gap = min(outage.gap * 2, TELL_LONGEST_SECONDS)
        return now - outage.since

    def look(self) -> Finding:
        """Find out how the loop is."""
        now, outage = time.monotonic(), self._outage
        still = now - self._turned_at
        if still > self._limit:
            return Finding(turns=False, problem=f"{self.name} stands still for {still:.0f} s")
        if outage is not None:
            why = f"{outage.server} cannot be used for {now - outage.since:.0f} s: {outage.why}"
            return Finding(turns=True, problem=f"{self.name}: {why}")
        return Finding(turns=True, problem=None if self._has_turned else f"{self.name} has not turned yet")


# Of the loop that this thread runs: what waits deep inside a turn says so itself.
of_this_loop: ContextVar[Pulse | None] = ContextVar("of_this_loop", default=None)

"""The pulse of a loop: when it last turned, and which server it waits for. The process's heartbeat is made of it.

A process may live, answer signals and do nothing. So each loop that does the work says itself that it turned; one that
waits for a server that is away turns all the same.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass

from redis import RedisError

from shared.telemetry.outage import Outage


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a loop finds.

    Args:
        turns: The loop has turned in time, if only to wait.
        problem: Why it cannot do its work now; None: it can.
    """

    turns: bool
    problem: str | None


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
        # One server after another is one outage: what people ask is since when nothing goes on.
        self._outage = Outage()
        self._missing: tuple[str, str] | None = None

    def turned(self) -> float | None:
        """Say that a turn's work is done; return for how many seconds it had waited for a server, if it had."""
        self._missing = None
        self._has_turned, self._turned_at = True, time.monotonic()
        return self._outage.ended()

    def waits(self, error: BaseException) -> float | None:
        """Say that a turn's work could not be done since a server is away.

        Returns:
            For how many seconds, if that is worth a line in the log now; None if one was written lately.
        """
        self._turned_at = time.monotonic()
        self._missing = ("Redis" if isinstance(error, RedisError) else "Postgres", " ".join(str(error).split()))
        return self._outage.seconds if self._outage.goes_on() else None

    def look(self) -> Finding:
        """Find out how the loop is."""
        missing = self._missing
        still = time.monotonic() - self._turned_at
        if still > self._limit:
            return Finding(turns=False, problem=f"{self.name} stands still for {still:.0f} s")
        if missing is not None:
            server, error = missing
            why = f"{server} cannot be used for {self._outage.seconds:.0f} s: {error}"
            return Finding(turns=True, problem=f"{self.name}: {why}")
        return Finding(turns=True, problem=None if self._has_turned else f"{self.name} has not turned yet")


# Of the loop that this thread runs: what waits deep inside a turn says so itself.
of_this_loop: ContextVar[Pulse | None] = ContextVar("of_this_loop", default=None)

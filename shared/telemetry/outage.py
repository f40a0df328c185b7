"""A server that is away: told at once, then with growing gaps, and once more when it is back."""

import time
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 300.0


class Outage:
    """What a loop remembers while it cannot work. One thread's own.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._tell_at = 0.0
        self._gap = FIRST_SECONDS
        self.tries = 0

    @property
    def seconds(self) -> float:
        """How long it has lasted; 0: there is none."""
        return 0.0 if self._began is None else round(self._clock() - self._began, 1)

    def goes_on(self) -> bool:
        """Count a try that failed; return whether to tell of it."""
        now = self._clock()
        self.tries += 1
        if self._began is None:
            self._began, self._gap = now, FIRST_SECONDS
        elif now < self._tell_at:
            return False
        else:
            self._gap = min(self._gap * 2, LONGEST_SECONDS)
        self._tell_at = now + self._gap
        return True

    def ended(self) -> float | None:
        """Say that a try went well; return how long the outage was in seconds, or None where there was none."""
        if self._began is None:
            return None
        seconds = self.seconds
        self._began, self.tries = None, 0
        return seconds

"""A worker that is told to stop: what it has in hand may finish for a moment, then it is ended and given back.

Celery waits for running tasks without a limit, and whoever stops a worker kills it in the end: a process that was being
frozen then stood until a sweep came. So each engine command in hand is ended in time, its process let go, its row put
back at once for another worker, and no try counted.
"""

from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Lock, Timer
from typing import Final

# A short command ends by itself; with the command's own TERM and KILL this stays below the 11 s that `up` allows.
GRACE_SECONDS: Final = 3.0


class Stopping:
    """Ends work in hand, once the worker was told to stop. Shared by threads.

    Args:
        grace_seconds: How long work may still go on by itself.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._lock = Lock()
        self._in_hand: list[Event] = []
        self._has_ended = False
        self._timer: Timer | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the grace is over: nothing new is begun, and what is in hand is being ended."""
        return self._has_ended

    def begin(self) -> None:
        """Let work in hand go on for the grace, then end it; a second call ends it at once."""
        if self._timer is not None:
            self._end()
            return
        self._timer = Timer(self._grace_seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    @contextmanager
    def ends(self, work: Event) -> Generator[None]:
        """Have an event set when work in hand has to end, as long as the block runs; at once if it had to already."""
        with self._lock:
            self._in_hand.append(work)
            if self._has_ended:
                work.set()
        try:
            yield
        finally:
            with self._lock:
                self._in_hand.remove(work)

    def _end(self) -> None:
        with self._lock:
            self._has_ended = True
            for work in self._in_hand:
                work.set()

"""The steps that are possible in one state, as they are collected."""

from collections.abc import Iterator
from dataclasses import dataclass

from .configurations import Configuration
from .guards import Guards
from .state import CLAIM, FAULTS, LEASE, LOCK, OF_WORKER, TELLS, TELLS_MODE, Seen, State

Step = tuple[str, bool, bytes]
"""What happens, whether it may just as well never happen, and the state after it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is taken from its queue."""

    w: int
    s: State
    """The state with the message taken."""
    value: int
    doubled: bool
    """A fault: a copy stays in the queue."""


class Moves:
    """Collects the steps that are possible in the state `now`."""

    __slots__ = ("found", "guards", "now", "setup")

    def __init__(self, setup: Configuration, guards: Guards, now: Seen) -> None:
        self.setup = setup
        self.guards = guards
        self.now = now
        self.found: list[Step] = []

    def copy(self) -> State:
        """Return the state as it is, to be changed."""
        return list(self.now)

    def add(self, s: State, label: str, *, fault: bool = False, optional: bool = False) -> None:
        """Add a step that leads to `s`; a fault only while some are left.

        Args:
            s: The state after it.
            label: What a trace says.
            fault: It takes one of the faults that may still happen.
            optional: No fault, but nobody may rely on it either: somebody cancels, an engine fails.
        """
        if fault:
            if not self.now[FAULTS]:
                return
            s[FAULTS] -= 1
        self.found.append((label, fault or optional, _canonical(s, self.setup)))

    def deliveries(self, queue: int) -> Iterator[Delivery]:
        """Each message of a queue, in any order, once taken and once doubled."""
        for w in range(self.setup.waits):
            value = self.now[queue + w]
            if not value:
                continue
            s = self.copy()
            s[queue + w] = 0
            yield Delivery(w, s, value, doubled=False)
            if self.now[FAULTS]:
                yield Delivery(w, self.copy(), value, doubled=True)


def _canonical(s: State, setup: Configuration) -> bytes:
    """Workers are alike, and so are consumers: of two mirrored states only one is kept."""
    if setup.workers == 2 and [s[k] for k in OF_WORKER] > [s[k + 1] for k in OF_WORKER]:
        _swap(s, OF_WORKER, holders=(LOCK, LEASE, LEASE + 1))
    if setup.consumers == 2 and (s[TELLS], s[TELLS_MODE]) > (s[TELLS + 1], s[TELLS_MODE + 1]):
        _swap(s, (TELLS, TELLS_MODE), holders=(CLAIM, CLAIM + 1))
    return bytes(s)


def _swap(s: State, columns: tuple[int, ...], *, holders: tuple[int, ...]) -> None:
    for k in columns:
        s[k], s[k + 1] = s[k + 1], s[k]
    for k in holders:
        if s[k] in (1, 2):
            s[k] = 3 - s[k]

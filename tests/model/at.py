"""A checkpoint worker at a step: what it works on, and how it gets to the next one."""

from dataclasses import dataclass

from .moves import Moves
from .state import (
    AT_EPOCH,
    AT_PROCESS,
    AT_WAIT,
    EPOCH,
    HOLDER_DEAD,
    LEASE,
    LOCK,
    OF_WORKER,
    STATUS,
    STEP,
    State,
)


@dataclass(slots=True)
class At:
    """Worker `t` works on wait `w` with a claim `epoch`, and on process `i`."""

    moves: Moves
    t: int
    w: int
    epoch: int
    i: int

    @classmethod
    def of(cls, moves: Moves, t: int) -> "At":
        """Read where a worker is."""
        now = moves.now
        return cls(moves, t, now[AT_WAIT + t], now[AT_EPOCH + t], now[AT_PROCESS + t])

    @property
    def me(self) -> int:
        """The worker, as it stands in locks and leases."""
        return self.t + 1

    def has(self, *statuses: int) -> bool:
        """Whether the row still has my epoch, and one of these statuses."""
        return self.moves.now[EPOCH + self.w] == self.epoch and self.moves.now[STATUS + self.w] in statuses

    def may_lock(self) -> bool:
        """Whether the node lock is free."""
        return not (self.moves.guards.node_lock and self.moves.now[LOCK])

    def lock(self, s: State) -> None:
        """Take the node lock, which is free."""
        if self.moves.guards.node_lock:
            s[LOCK] = self.me

    def go(self, s: State, step: int) -> None:
        """Be at a step."""
        t = self.t
        s[STEP + t], s[AT_WAIT + t], s[AT_EPOCH + t], s[AT_PROCESS + t] = step, self.w, self.epoch, self.i

    def leave(self, s: State, *, dead: bool = False) -> None:
        """Have nothing to do any more; the lock is free, a lease ends, or runs out if the worker is dead."""
        for column in OF_WORKER:
            s[column + self.t] = 0
        if s[LOCK] == self.me:
            s[LOCK] = 0
        for w in range(self.moves.setup.waits):
            if s[LEASE + w] == self.me:
                s[LEASE + w] = HOLDER_DEAD if dead else 0

    def add(self, s: State, label: str, *, fault: bool = False, optional: bool = False) -> None:
        """Add a step of this worker."""
        self.moves.add(s, f"worker {self.t}: {label}", fault=fault, optional=optional)

"""What goes wrong by itself: leases that run out, a wiped Redis, a forged token, a frozen run that ends."""

from .moves import Moves
from .processes import kill
from .state import (
    ACCEPTED,
    AT_PROCESS,
    BEGUN,
    CLAIM,
    HOLDER_DEAD,
    HOLDS,
    IMAGE,
    LEASE,
    M_CANCEL,
    M_DEFER,
    NOT_BEGUN,
    PAUSED,
    PROCESS,
    RESTORING,
    STATUS,
    STEP,
    TOKEN,
    WORKLOAD,
)

M_END = M_CANCEL  # the queues lie side by side, M_CANCEL after them


def steps(moves: Moves) -> None:
    """Leases, Redis, tokens."""
    for w in range(moves.setup.waits):
        _lease(moves, LEASE + w, f"lease of restore {w + 1}")
        _lease(moves, CLAIM + w, f"claim of continuation {w + 1}")
        if moves.setup.forged and moves.now[BEGUN + w] != NOT_BEGUN and moves.now[TOKEN] <= w:
            s = moves.copy()
            s[TOKEN] = w + 1
            moves.add(s, f"a FORGED token revokes {w + 1}", fault=True)
        if moves.setup.gone and moves.now[STATUS + w] in (ACCEPTED, RESTORING):
            _vanishes(moves, w)
    if any(moves.now[M_DEFER : M_END + 1]) or moves.now[TOKEN]:
        s = moves.copy()
        s[M_DEFER : M_END + 1] = [0] * (M_END + 1 - M_DEFER)
        s[TOKEN] = 0
        moves.add(s, "REDIS WIPED", fault=True)


def _vanishes(moves: Moves, w: int) -> None:
    """What is frozen ends without us: its machine restarts, its image is deleted.

    Once a restore has found it, that is the end of a run that goes on, of which its upstream knows better.
    """
    s, i = moves.copy(), moves.now[WORKLOAD + w]
    is_held = any(moves.now[STEP + t] == HOLDS and moves.now[AT_PROCESS + t] == i for t in range(moves.setup.workers))
    if moves.setup.simulate and moves.now[PROCESS + i] == PAUSED and not is_held:
        kill(s, i)
        moves.add(s, f"process {i} ENDS while it is frozen", fault=True)
    elif not moves.setup.simulate and moves.now[IMAGE + w]:
        s[IMAGE + w] = 0
        moves.add(s, f"the image of wait {w + 1} VANISHES", fault=True)


def _lease(moves: Moves, place: int, what: str) -> None:
    """A lease of the dead runs out, sooner or later; that of a slow worker is a fault."""
    holder = moves.now[place]
    if holder in (1, 2, HOLDER_DEAD):
        s = moves.copy()
        s[place] = 0
        slow = holder != HOLDER_DEAD
        moves.add(s, f"{what} runs out" + (", its holder is only SLOW" if slow else ""), fault=slow)

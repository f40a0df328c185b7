"""What goes wrong without anybody's doing: leases that run out, a wiped Redis, a forged token."""

from .moves import Moves
from .state import BEGUN, CLAIM, HOLDER_DEAD, LEASE, M_CANCEL, M_DEFER, NOT_BEGUN, TOKEN

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
    if any(moves.now[M_DEFER : M_END + 1]) or moves.now[TOKEN]:
        s = moves.copy()
        s[M_DEFER : M_END + 1] = [0] * (M_END + 1 - M_DEFER)
        s[TOKEN] = 0
        moves.add(s, "REDIS WIPED", fault=True)


def _lease(moves: Moves, place: int, what: str) -> None:
    """A lease of the dead runs out, sooner or later; that of a slow worker is a fault."""
    holder = moves.now[place]
    if holder in (1, 2, HOLDER_DEAD):
        s = moves.copy()
        s[place] = 0
        slow = holder != HOLDER_DEAD
        moves.add(s, f"{what} runs out" + (", its holder is only SLOW" if slow else ""), fault=slow)

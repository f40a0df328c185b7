"""The upstream's consumers of continuations: claim, if they claim at all, and tell the process."""

from .moves import Moves
from .state import (
    BAD,
    CHECKPOINT,
    CLAIM,
    DONE,
    ENDED,
    ENDED_BELOW,
    FOR_EVER,
    GONE_MODE,
    HELD,
    HOLDER_DEAD,
    INBOX,
    LIVE,
    M_CONTINUE,
    PASSED,
    PAUSED,
    PROCESS,
    PROGRESS,
    RESTORED_AS,
    RUNS,
    TELLS,
    TELLS_MODE,
    WORKLOAD,
    State,
)

LIVE_TO_FROZEN = 5


def steps(moves: Moves) -> None:
    """Everything that consumers may do."""
    if not moves.setup.consumers:
        for got in moves.deliveries(M_CONTINUE):
            label = _tell(moves, got.s, got.w, got.value)
            moves.add(got.s, f"upstream: {label}", fault=got.doubled)
    for c in range(moves.setup.consumers):
        if moves.now[TELLS + c]:
            _tells(moves, c)
        else:
            _claims(moves, c)


def _claims(moves: Moves, c: int) -> None:
    for got in moves.deliveries(M_CONTINUE):
        w, s = got.w, got.s
        if moves.now[CLAIM + w] or moves.now[DONE + w]:
            moves.add(s, f"consumer {c}: continuation {w + 1} can't be claimed", fault=got.doubled)
        else:
            s[CLAIM + w], s[TELLS + c], s[TELLS_MODE + c] = c + 1, w + 1, got.value
            moves.add(s, f"consumer {c}: claims continuation {w + 1}", fault=got.doubled)


def _tells(moves: Moves, c: int) -> None:
    now = moves.now
    w = now[TELLS + c] - 1
    s = moves.copy()
    s[TELLS + c] = s[TELLS_MODE + c] = 0
    if now[CLAIM + w] == c + 1 or not moves.guards.claim_expires:
        s[CLAIM + w] = HOLDER_DEAD if moves.guards.claim_expires else FOR_EVER
    moves.add(list(s), f"consumer {c}: DIES with its claim", fault=True)
    label = _tell(moves, s, w, now[TELLS_MODE + c])
    moves.add(s, f"consumer {c}: {label}")


def _tell(moves: Moves, s: State, w: int, mode: int) -> str:
    """Tell the process that its wait is over; return what happened."""
    now = moves.now
    i = now[WORKLOAD + w] if mode == LIVE else now[RESTORED_AS + w]
    if now[ENDED] and w < now[ENDED_BELOW]:
        return f"continuation {w + 1} is ignored, the run or attempt is over"
    if mode == GONE_MODE:
        s[DONE + w] = 1
        return f"upstream hears that nothing is left of the run of wait {w + 1}"
    if mode == LIVE and now[CHECKPOINT + w] and not now[PROGRESS + w]:
        s[BAD] = LIVE_TO_FROZEN
    if now[PROCESS + i] not in (RUNS, PAUSED, HELD):
        return f"continuation {w + 1}: process {i} is gone"
    if now[PASSED + i] > w:
        if moves.guards.process_ignores:
            s[DONE + w] = 1
        else:
            s[PROGRESS + w] += 1
    elif moves.guards.done_by_process:
        s[INBOX + i] |= 1 << w
    else:
        s[DONE + w] = 1
        if now[PROCESS + i] == RUNS:
            s[INBOX + i] |= 1 << w
    return f"process {i} is told that wait {w + 1} is over"

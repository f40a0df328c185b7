"""The upstream and its processes: they wait, go on, repeat what is not answered, give up."""

from .moves import Delivery, Moves
from .processes import is_old, kill
from .rows import end_manual
from .state import (
    ATTEMPT,
    ATTEMPT_2,
    BAD,
    BEGUN,
    CALLED_OFF,
    CANCELLED,
    CHECKPOINT,
    COMPLETED,
    DONE,
    ENDED,
    ENDED_BELOW,
    FLUSHED,
    INBOX,
    M_CANCEL,
    M_COMPLETE,
    M_DEFER,
    M_PREPARE,
    M_READY,
    MARK,
    NOT_BEGUN,
    OVER,
    PASSED,
    PROCESS,
    PROCESSES,
    PROGRESS,
    READS_WAIT,
    REGISTERED,
    RESUMED,
    RUNS,
    SENT,
    TOKEN_DUE,
    WORKLOAD,
)

EARLY = 4


def steps(moves: Moves) -> None:
    """Everything that the upstream and its processes may do."""
    for i in range(PROCESSES):
        if moves.now[PROCESS + i] == RUNS:
            _process(moves, i)
    for got in moves.deliveries(M_PREPARE):
        _answers(moves, got)
    for w in range(moves.setup.waits):
        _dependency(moves, w)
        if moves.setup.call_off:
            _call_off(moves, w)
    if moves.setup.cancel or moves.setup.attempt:
        _give_up(moves)


def _begun(moves: Moves) -> int:
    return sum(moves.now[BEGUN + w] != NOT_BEGUN for w in range(moves.setup.waits))


def _process(moves: Moves, i: int) -> None:
    now, w = moves.now, moves.now[PASSED + i]
    given_up = now[ENDED] and is_old(moves, now, i)
    if given_up:
        s = moves.copy()
        kill(s, i)
        moves.add(s, f"upstream stops process {i}")
    if w >= moves.setup.waits:
        return
    # The waits of two attempts would need numbers of their own; a cancelled run may well wait once more.
    if now[BEGUN + w] == NOT_BEGUN and not (given_up and moves.setup.attempt):
        s = moves.copy()
        s[BEGUN + w], s[WORKLOAD + w], s[M_DEFER + w] = SENT, i, 1
        moves.add(s, f"process {i} begins wait {w + 1}, defer sent")
    if now[INBOX + i] >> w & 1:
        _goes_on(moves, i, w)


def _goes_on(moves: Moves, i: int, w: int) -> None:
    s = moves.copy()
    s[PASSED + i], s[INBOX + i] = w + 1, 0
    s[PROGRESS + w] += 1
    if not moves.now[RESUMED + w]:
        s[BAD] = EARLY
    label = f"process {i} goes on after wait {w + 1}"
    if not moves.now[DONE + w]:
        moves.add(list(s), label + ", its `done` is LOST", fault=True)
    s[DONE + w] = 1
    moves.add(s, label)


def _answers(moves: Moves, got: Delivery) -> None:
    """A process that is asked flushes and says so, or never does; one that has passed the wait says nothing."""
    now, w = moves.now, got.w
    i = now[WORKLOAD + w]
    if now[PROCESS + i] == RUNS and now[PASSED + i] == w:
        s = list(got.s)
        s[FLUSHED + w] = s[M_READY + w] = 1
        label = f"process {i} has flushed for wait {w + 1}, ready sent"
        moves.add(s, label, fault=got.doubled, optional=True)
    if not got.doubled:
        moves.add(got.s, f"the run does not answer for wait {w + 1}")


def _dependency(moves: Moves, w: int) -> None:
    now, setup = moves.now, moves.setup
    by_clock = setup.timed or setup.manual
    if not now[OVER + w] and not setup.manual and w <= _begun(moves):
        s = moves.copy()
        s[OVER + w] = 1
        s[M_COMPLETE + w] = int(not by_clock)
        moves.add(s, f"what wait {w + 1} waits for ends" + (" (a time)" if by_clock else ", complete sent"))
    if not moves.guards.upstream_sends:
        return
    if now[OVER + w] and not now[COMPLETED + w] and not now[M_COMPLETE + w] and not by_clock:
        s = moves.copy()
        s[M_COMPLETE + w] = 1
        moves.add(s, f"upstream sends complete({w + 1}) again")
    if now[BEGUN + w] == SENT and not now[M_DEFER + w] and now[READS_WAIT] != w + 1:
        s = moves.copy()
        s[M_DEFER + w] = 1
        moves.add(s, f"upstream sends defer({w + 1}) again")


def _call_off(moves: Moves, w: int) -> None:
    """Call off the checkpoint only; before its wait is known, this is the mark that waits for it."""
    now = moves.now
    if now[BEGUN + w] not in (SENT, REGISTERED) or now[CALLED_OFF + w] or now[CHECKPOINT + w]:
        return
    if now[RESUMED + w] or now[CANCELLED + w]:
        return
    s = moves.copy()
    s[CALLED_OFF + w] = s[TOKEN_DUE + w] = 1
    if now[BEGUN + w] == REGISTERED:
        end_manual(moves, s, w, allowed=moves.guards.manual_called_off)
    moves.add(s, f"the checkpoint of wait {w + 1} is called off", optional=True)


def _give_up(moves: Moves) -> None:
    now, setup = moves.now, moves.setup
    begun = _begun(moves)
    if not now[ENDED] and begun and not now[PROGRESS + setup.waits - 1]:
        s = moves.copy()
        s[ENDED] = s[M_CANCEL] = 1
        s[ENDED_BELOW] = setup.waits if setup.cancel else begun
        moves.add(
            s,
            f"upstream: {'the run is cancelled' if setup.cancel else 'attempt 1 is over'}, cancel sent",
            optional=True,
        )
    if now[ENDED] and not now[M_CANCEL] and not now[MARK] and moves.guards.upstream_sends:
        s = moves.copy()
        s[M_CANCEL] = 1
        moves.add(s, "upstream sends the cancel again")
    if setup.attempt and now[ENDED] and now[ATTEMPT] == 1 and (now[MARK] or not moves.guards.announce_first):
        s = moves.copy()
        s[ATTEMPT], s[PROCESS + ATTEMPT_2], s[PASSED + ATTEMPT_2] = 2, RUNS, now[ENDED_BELOW]
        moves.add(s, f"upstream starts attempt 2 as process {ATTEMPT_2}")

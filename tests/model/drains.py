"""The drains: waits and cancels are written down, completions resume, tokens follow."""

from .moves import Delivery, Moves
from .rows import KNOWN_LATE, end_manual, end_waits, is_open, publish
from .state import (
    ASKED,
    BAD,
    BEGUN,
    CALLED_OFF,
    CANCELLED,
    CHECKPOINT,
    COMPLETED,
    DEFERRED,
    DONE,
    ENDED,
    ENDED_BELOW,
    HANDSHAKE,
    LIVE,
    M_CANCEL,
    M_COMPLETE,
    M_CONTINUE,
    M_DEFER,
    M_FIRST,
    M_HINT,
    M_READY,
    M_TAKE,
    MARK,
    READ_COMPLETE,
    READ_MARK,
    READ_MODE,
    READS_MODE_OF,
    READS_WAIT,
    READY,
    REFUSED,
    REGISTERED,
    RESUMED,
    SENT,
    STATUS,
    TOKEN,
    TOKEN_DUE,
    State,
)

NOT_ITS_OWN = 6


def steps(moves: Moves) -> None:
    """Everything that the drains of `deferrals` and `resumes` may do."""
    _defers(moves)
    _cancels(moves)
    _readies(moves)
    _completes(moves)
    _hints(moves)
    for w in range(moves.setup.waits):
        if moves.now[TOKEN_DUE + w]:
            s = moves.copy()
            s[TOKEN_DUE + w] = s[M_FIRST + w] = 0
            s[TOKEN] = max(s[TOKEN], w + 1)
            moves.add(s, f"token {w + 1} raised, held take removed")


def _defers(moves: Moves) -> None:
    now, guards = moves.now, moves.guards
    for got in moves.deliveries(M_DEFER):
        w, s = got.w, got.s
        marked = now[MARK] > w and guards.cancel_kept
        if now[BEGUN + w] != SENT:
            moves.add(s, f"drain: defer({w + 1}) is known", fault=got.doubled)
        elif guards.same_key and guards.cancel_serial:
            _register(moves, got, complete=now[COMPLETED + w], marked=marked)
        elif not now[READS_WAIT]:
            s[READS_WAIT], s[READ_COMPLETE], s[READ_MARK] = w + 1, now[COMPLETED + w], int(marked)
            moves.add(s, f"drain reads before it registers {w + 1}", fault=got.doubled)
    if now[READS_WAIT]:
        s = moves.copy()
        w = now[READS_WAIT] - 1
        complete = now[COMPLETED + w] if guards.same_key else now[READ_COMPLETE]
        marked = bool(now[MARK] > w if guards.cancel_serial else now[READ_MARK])
        s[READS_WAIT] = s[READ_COMPLETE] = s[READ_MARK] = 0
        _register(moves, Delivery(w, s, 1, doubled=False), complete=complete, marked=marked)


def _register(moves: Moves, got: Delivery, *, complete: int, marked: bool) -> None:
    now, s, w = moves.now, got.s, got.w
    label = f"drain: wait {w + 1} "
    first_of_attempt = now[ENDED_BELOW] if moves.setup.attempt and now[ENDED] else 0
    superseded = w < first_of_attempt and any(
        now[BEGUN + v] == REGISTERED for v in range(first_of_attempt, moves.setup.waits)
    )
    if marked or superseded:
        s[BEGUN + w] = REFUSED
        moves.add(s, label + "refused", fault=got.doubled)
        return
    s[BEGUN + w] = REGISTERED
    if w >= first_of_attempt:
        end_waits(moves, s, range(first_of_attempt))
        for v in range(first_of_attempt, w):
            s[DONE + v] |= int(s[RESUMED + v] and moves.guards.next_is_done)
    if complete:
        _tell(moves, got, M_HINT, label + "registered, complete already, hint sent")
        return
    if now[COMPLETED + w]:
        s[COMPLETED + w] = KNOWN_LATE
    if moves.setup.manual:
        unplanned = list(s)
        unplanned[CALLED_OFF + w] = 1
        end_manual(moves, unplanned, w, allowed=moves.guards.manual_unplanned)
        moves.add(
            unplanned,
            label + "registered, no checkpoint will be taken",
            fault=got.doubled,
            optional=not now[CALLED_OFF + w],
        )
    if not now[CALLED_OFF + w]:
        _tell(moves, got, M_FIRST, label + "registered, take sent")
    elif not moves.setup.manual:
        moves.add(s, label + "registered, its checkpoint is called off", fault=got.doubled)


def _tell(moves: Moves, got: Delivery, queue: int, label: str) -> None:
    """Add a step that commits and then sends, and the same with a death in between."""
    if not got.doubled:
        moves.add(list(got.s), label + "; DIES before that", fault=True)
    got.s[queue + got.w] = 1
    moves.add(got.s, label, fault=got.doubled)


def _cancels(moves: Moves) -> None:
    now = moves.now
    for doubled in (False, True) if now[M_CANCEL] else ():
        s = moves.copy()
        s[M_CANCEL], s[MARK] = int(doubled), now[ENDED_BELOW]
        later = range(now[ENDED_BELOW], moves.setup.waits)
        if moves.guards.cancel_number:
            end_waits(moves, s, range(now[ENDED_BELOW]))
        else:
            end_waits(moves, s, range(moves.setup.waits))
            if any(s[CANCELLED + w] and not now[CANCELLED + w] for w in later):
                s[BAD] = NOT_ITS_OWN
        moves.add(s, "drain: cancel written", fault=doubled)


def _readies(moves: Moves) -> None:
    """The run may be frozen, if it is still asked; one that comes late, or twice, changes nothing."""
    now = moves.now
    for got in moves.deliveries(M_READY):
        w = got.w
        if now[STATUS + w] == DEFERRED and now[HANDSHAKE + w] == ASKED and is_open(now, w):
            got.s[HANDSHAKE + w] = READY
            _tell(moves, got, M_TAKE, f"drain: the run of {w + 1} is ready, take sent")
        else:
            moves.add(got.s, f"drain: ready({w + 1}) comes too late", fault=got.doubled)


def _completes(moves: Moves) -> None:
    now = moves.now
    for got in moves.deliveries(M_COMPLETE):
        w = got.w
        open_row = now[BEGUN + w] == REGISTERED and not now[COMPLETED + w]
        if open_row and not got.doubled:
            _out_of_order(moves, got)
        if moves.guards.mode_returned or now[COMPLETED + w]:
            _resume(moves, got, checkpoint=now[CHECKPOINT + w])
        elif not now[READS_MODE_OF]:
            got.s[READS_MODE_OF], got.s[READ_MODE] = w + 1, now[CHECKPOINT + w]
            moves.add(got.s, f"drain reads the mode of {w + 1}", fault=got.doubled)
    if now[READS_MODE_OF]:
        s = moves.copy()
        w = now[READS_MODE_OF] - 1
        s[READS_MODE_OF] = s[READ_MODE] = 0
        _resume(moves, Delivery(w, s, 1, doubled=False), checkpoint=now[READ_MODE])


def _out_of_order(moves: Moves, got: Delivery) -> None:
    """With a guard off: what follows a commit comes before it, and the transaction aborts."""
    if not moves.guards.token_after:
        s: State = list(got.s)
        s[TOKEN], s[M_FIRST + got.w] = max(s[TOKEN], got.w + 1), 0
        moves.add(s, f"drain: token {got.w + 1} raised, then the transaction aborts", fault=True)
    if not moves.guards.commit_first:
        s = list(got.s)
        s[M_CONTINUE + got.w] = LIVE
        moves.add(s, f"drain: continuation {got.w + 1} sent, then the transaction aborts", fault=True)


def _hints(moves: Moves) -> None:
    for got in moves.deliveries(M_HINT):
        if moves.now[COMPLETED + got.w]:
            _resume(moves, got, checkpoint=moves.now[CHECKPOINT + got.w])
        else:
            moves.add(got.s, f"drain: hint {got.w + 1} is wrong", fault=got.doubled)


def _resume(moves: Moves, got: Delivery, *, checkpoint: int) -> None:
    """Complete and resume in one conditional update; a row that is resumed and not done is told once more."""
    now, s, w = moves.now, got.s, got.w
    s[COMPLETED + w] = now[COMPLETED + w] or 1
    if now[BEGUN + w] != REGISTERED or now[CANCELLED + w] or now[DONE + w]:
        moves.add(s, f"drain: {w + 1} is complete, nothing to resume", fault=got.doubled)
        return
    again = now[RESUMED + w]
    s[RESUMED + w] = 1
    label = f"drain: {w + 1} {'was resumed already' if again else 'completed and resumed'}"
    if not got.doubled and not again:
        moves.add(list(s), label + "; DIES before it publishes", fault=True)
    publish(s, w, checkpoint=checkpoint, status=now[STATUS + w])
    s[TOKEN_DUE + w] = 1
    moves.add(s, label + (", restore" if checkpoint else ", live"), fault=got.doubled)

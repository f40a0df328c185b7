"""`checkpoint.take`: lock, claim, freeze, store, offer; and what is settled when the wait is over."""

from .at import At
from .moves import Delivery, Moves
from .processes import carry_out, freeze, is_old, verdict
from .rows import close, end_manual, has_duty, is_open, put_back, unused_epoch
from .state import (
    ABSENT,
    ACCEPTED,
    ASK,
    ASKED,
    ATTEMPT,
    BAD,
    BY_TOKEN,
    CHECKPOINT,
    CLAIMED,
    COMMAND_NAMES,
    DEFERRED,
    DISCARD,
    DISCARDED,
    DISCARDS_LATE,
    EPOCH,
    FAILED,
    FLUSHED,
    FREED,
    FROZEN,
    GONE,
    HANDSHAKE,
    IMAGE,
    M_FIRST,
    M_PREPARE,
    M_TAKE,
    NONE,
    PAUSED,
    PROCESS,
    READY,
    RETRY,
    RUNS,
    SETTLE,
    SETTLED,
    STATUS,
    STORED,
    TAKING,
    TOKEN,
    TORN,
    UNKNOWN,
    WAITS_FOR_LOCK,
    WHY,
    WORKLOAD,
    State,
)

TORN_IMAGE, OLD_ATTEMPT, BY_TOKEN_ALONE, NOT_READY = 1, 3, 7, 9


def begin(moves: Moves, t: int) -> None:
    """An idle worker gets a take."""
    for first, queue in ((True, M_FIRST), (False, M_TAKE)):
        for got in moves.deliveries(queue):
            _take(At(moves, t, got.w, 0, moves.now[WORKLOAD + got.w]), got, first=first)


def _take(at: At, got: Delivery, *, first: bool) -> None:
    moves, now, guards, w = at.moves, at.moves.now, at.moves.guards, at.w
    label, fault, s = f"take({w + 1}): ", got.doubled, got.s
    status, still_open = now[STATUS + w], is_open(now, w)
    if now[TOKEN] > w and (first or not guards.token_first_only):
        at.add(s, label + "token, nothing is touched", fault=fault)
    elif status in (NONE, DEFERRED, TAKING) and still_open and not guards.claim_under_lock:
        _claim(at, s)
        at.go(s, WAITS_FOR_LOCK)
        at.add(s, label + f"claimed without the lock, epoch {at.epoch}", fault=fault)
    elif not at.may_lock():
        at.add(s, label + "the lock is busy, dropped", fault=fault)
    elif status in (NONE, DEFERRED) and still_open and _has_to_be_asked(moves, w):
        _ask(at, got, label)
    elif status in (NONE, DEFERRED, TAKING) and still_open:
        _claim(at, s)
        at.lock(s)
        at.go(s, CLAIMED)
        at.add(s, label + f"locked, claimed, epoch {at.epoch}", fault=fault)
    elif status == DEFERRED or (status == TAKING and not guards.takeover_settles):
        close(moves, s, w)
        at.add(s, label + "the wait is over, row closed", fault=fault)
    elif status == TAKING or has_duty(now, w) or (status == DISCARDED and now[IMAGE + w]):
        _take_duty(at, s, label, fault=fault)
    else:
        at.add(s, label + "nothing to do", fault=fault)


def _has_to_be_asked(moves: Moves, w: int) -> bool:
    return moves.setup.handshake and moves.guards.ready_first and moves.now[HANDSHAKE + w] != READY


def _ask(at: At, got: Delivery, label: str) -> None:
    """Ask the run, and give the slot back; or find that it did not answer in time, which may be at any moment."""
    moves, w, s = at.moves, at.w, got.s
    if moves.now[HANDSHAKE + w] != ASKED:
        s[STATUS + w], s[EPOCH + w], s[HANDSHAKE + w] = DEFERRED, 0, ASKED
        if not got.doubled:
            at.add(list(s), label + f"asks the run of {w + 1}; DIES before it says so", fault=True)
        s[M_PREPARE + w] = s[M_TAKE + w] = 1
        at.add(s, label + f"asks the run of {w + 1}, prepare sent", fault=got.doubled)
    elif moves.guards.unanswered_closed:
        close(moves, s, w)
        at.add(s, label + f"the run of {w + 1} did not answer, row closed", fault=got.doubled)


def _claim(at: At, s: State) -> None:
    at.epoch = unused_epoch(at.moves.now, at.w)
    s[STATUS + at.w], s[EPOCH + at.w], s[HANDSHAKE + at.w] = TAKING, at.epoch, 0


def _take_duty(at: At, s: State, label: str, *, fault: bool) -> None:
    """The wait is over, or its checkpoint is accepted: what is left to do is done under the lock, without a claim."""
    now, w, t = at.moves.now, at.w, at.t
    discards = now[STATUS + w] == DISCARDED
    at.epoch = now[EPOCH + w]
    at.lock(s)
    s[WHY + t] = DISCARD if discards else ASK
    at.go(s, SETTLED if discards and not at.moves.guards.discard_settles else SETTLE)
    at.add(s, label + "locked, has to settle", fault=fault)


def wait_for_lock(at: At) -> None:
    """With a guard off: the claim is older than the lock."""
    if at.may_lock():
        s = at.moves.copy()
        at.lock(s)
        at.go(s, CLAIMED)
        at.add(s, "has the lock")


def work(at: At) -> None:
    """Freeze."""
    now, s = at.moves.now, at.moves.copy()
    if now[PROCESS + at.i] in (ABSENT, GONE):
        if at.has(TAKING):
            close(at.moves, s, at.w)
        at.leave(s)
        at.add(s, "no such process, row closed")
        return
    freeze(s, at.i)
    if at.moves.setup.handshake and not now[FLUSHED + at.w]:
        s[BAD] = NOT_READY
    at.go(s, FROZEN)
    at.add(s, f"freezes process {at.i}")


def store(at: At) -> None:
    """Store, or break off."""
    now, setup = at.moves.now, at.moves.setup
    s = at.moves.copy()
    if now[PROCESS + at.i] != PAUSED:
        s[TORN + at.t] = 1
    at.go(s, STORED)
    at.add(s, f"image of {at.w + 1} stored")
    for possible, why, label in (
        (now[TOKEN] > at.w, BY_TOKEN, "sees a token, breaks off"),
        (setup.fail, FAILED, "the engine can't, gives up"),
        (setup.again, RETRY, "the engine failed, another try may mend it"),
    ):
        if possible:
            _break_off(at, at.moves.copy(), why, label)


def offer(at: At) -> None:
    """Offer the image: both rows change, or none; or a token comes first."""
    moves, now, guards, w = at.moves, at.moves.now, at.moves.guards, at.w
    if now[TOKEN] > w:
        _break_off(at, moves.copy(), BY_TOKEN, "sees a token, breaks off")
    s = moves.copy()
    takes_row = at.has(TAKING) or (now[STATUS + w] == TAKING and not guards.offer_epoch)
    takes_wait = is_open(now, w) or not guards.offer_open
    if takes_row and takes_wait:
        _accept(at, s)
        lost = list(s)
        at.go(lost, UNKNOWN)
        at.add(lost, f"offer {w + 1}: ACCEPTED, answer lost", fault=True)
        at.go(s, SETTLE)
        at.add(s, f"offer {w + 1}: ACCEPTED")
        return
    lost = moves.copy()
    at.go(lost, UNKNOWN)
    at.add(lost, f"offer {w + 1}: no answer", fault=True)
    if takes_wait and not guards.offer_both:
        s[CHECKPOINT + w] = 1
    _break_off(at, s, ASK, f"offer {w + 1}: REFUSED")


def _accept(at: At, s: State) -> None:
    moves, now, w = at.moves, at.moves.now, at.w
    s[STATUS + w], s[CHECKPOINT + w], s[IMAGE + w] = ACCEPTED, 1, 1
    end_manual(moves, s, w, allowed=moves.guards.manual_accepted)
    if now[TORN + at.t] or now[PROCESS + at.i] == RUNS:
        s[BAD] = TORN_IMAGE
    if now[ATTEMPT] == 2 and is_old(moves, now, at.i):
        s[BAD] = OLD_ATTEMPT


def read_offer(at: At) -> None:
    """The answer of the offer was lost."""
    s = at.moves.copy()
    if not at.moves.guards.offer_reread:
        _break_off(at, s, ASK, "no answer, guesses that it is refused")
    elif at.has(TAKING):
        at.go(s, STORED)
        at.add(s, "reads the row: not accepted, offers again")
    else:
        at.go(s, SETTLE)
        at.add(s, "reads the row: no longer `taking`, settles")


def _break_off(at: At, s: State, why: int, label: str) -> None:
    guards = at.moves.guards
    early = not (guards.retry_thaws if why == RETRY else guards.close_after_settle)
    s[WHY + at.t] = why
    if early:
        _end_try(at, s, why)
    at.go(s, SETTLE)
    at.add(s, label, optional=why in (FAILED, RETRY))


def settle(at: At) -> None:
    """Do to the process what the newest wait of its workload says."""
    command = verdict(at.moves, at.moves.now, at.i, at.w)
    s = at.moves.copy()
    carry_out(s, at.i, command)
    at.go(s, SETTLED)
    at.add(s, f"settles process {at.i}: {COMMAND_NAMES[command]}")


def after_settle(at: At) -> None:
    """Only now does the row say that it is settled."""
    now, s, w, why = at.moves.now, at.moves.copy(), at.w, at.moves.now[WHY + at.t]
    if at.has(TAKING) and not at.moves.guards.image_by_epoch:
        s[DISCARDS_LATE + w] = 1
    _end_try(at, s, why)
    if now[CHECKPOINT + w]:
        s[FREED + w] = 1
    if now[STATUS + w] == DISCARDED and (why == DISCARD or not at.moves.guards.discard_read_first):
        s[IMAGE + w] = 0
    at.leave(s)
    at.add(s, f"row {w + 1} is settled")


def discard_late(moves: Moves) -> None:
    """With a guard off: a try that is over discards by the name of the wait, and the lock is not its own any more."""
    for w in range(moves.setup.waits):
        if moves.now[DISCARDS_LATE + w]:
            s = moves.copy()
            s[DISCARDS_LATE + w] = s[IMAGE + w] = 0
            moves.add(s, f"the image of a try of {w + 1} that is over is discarded")


def _end_try(at: At, s: State, why: int) -> None:
    """End a try without an acceptance: close the row if Postgres calls the wait over, else put it back."""
    moves, w = at.moves, at.w
    if not at.has(TAKING):
        return
    over = not is_open(moves.now, w)
    alone = why == BY_TOKEN and not over and not moves.guards.token_asks
    if alone:
        s[BAD] = BY_TOKEN_ALONE
    if over or why == FAILED or alone:
        close(moves, s, w)
    else:
        put_back(moves, s, w)

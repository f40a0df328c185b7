"""`checkpoint.restore`: lock, claim, restore into held, permit, let run, continuation."""

from .at import At
from .moves import Delivery, Moves
from .processes import carry_out, free_identity, hold, kill, let_run, verdict
from .rows import unused_epoch
from .state import (
    ABSENT,
    ACCEPTED,
    ATTEMPT,
    BAD,
    CANCELLED,
    ENDED_BELOW,
    EPOCH,
    FREED,
    FREES_FIRST,
    GONE,
    GONE_MODE,
    HELD,
    HOLDS,
    IMAGE,
    LEASE,
    LOST,
    M_CONTINUE,
    M_RESTORE,
    MARK,
    PAUSED,
    PERMITTED,
    PROCESS,
    REMOVES,
    RESTORED,
    RESTORED_AS,
    RESTORED_MODE,
    RESTORES,
    RESTORING,
    RESUMED,
    STATUS,
    WORKLOAD,
    State,
)

CANCELLED_RUN, OLD_ATTEMPT, NO_IMAGE = 2, 3, 8


def begin(moves: Moves, t: int) -> None:
    """An idle worker gets a restore."""
    for got in moves.deliveries(M_RESTORE):
        for is_here in places(moves):
            _restore(At(moves, t, got.w, 0, 0), got, is_here=is_here)


def places(moves: Moves) -> tuple[bool, ...]:
    """Where a restore may begin: whether that is the node of the takes, whose lock they share."""
    if not moves.guards.restore_lock or moves.setup.elsewhere:
        return (False,)
    return (True, False) if moves.setup.either else (True,)


def _restore(at: At, got: Delivery, *, is_here: bool) -> None:
    moves, now, guards, w, s = at.moves, at.moves.now, at.moves.guards, at.w, list(got.s)
    label = f"restore({w + 1}){'' if is_here or not moves.setup.either else ' elsewhere'}: "
    may = (now[RESUMED + w] and not now[CANCELLED + w]) or not guards.restore_open
    free = now[STATUS + w] == ACCEPTED or (
        now[STATUS + w] == RESTORING and not (now[LEASE + w] and guards.restore_lease)
    )
    if is_here and not at.may_lock():
        at.add(s, label + "the lock is busy, dropped", fault=got.doubled)
    elif may and free:
        at.epoch = unused_epoch(now, w)
        s[STATUS + w], s[EPOCH + w], s[LEASE + w] = RESTORING, at.epoch, at.me
        if is_here:
            at.lock(s)
        # The old process is on its own node: whoever restores elsewhere leaves that duty to it.
        at.go(s, RESTORES if now[FREED + w] or not is_here else FREES_FIRST)
        at.add(s, label + f"claimed, epoch {at.epoch}", fault=got.doubled)
    else:
        at.add(s, label + "can't be claimed", fault=got.doubled)


def free_first(at: At) -> None:
    """The old process is still a duty, and it is on this node."""
    s, old = at.moves.copy(), at.moves.now[WORKLOAD + at.w]
    carry_out(s, old, verdict(at.moves, at.moves.now, old, at.w))
    # One step for kill and freed_at: a death between them leaves the same duty, to be done again.
    s[FREED + at.w] = 1
    at.go(s, RESTORES)
    at.add(s, f"frees process {old} first")


def restore(at: At) -> None:
    """Restore into held; simulate: the standing process itself is what is held."""
    moves, now, w = at.moves, at.moves.now, at.w
    if moves.setup.gone and _is_gone(moves, w):
        _lose(at)
        return
    if moves.setup.again:
        _try_later(at, "the restore fails, back to `accepted`", optional=True)
    i = free_identity(moves, now, w)
    if i is None:
        # Only the model is out of room; whoever waited here with the lock would hinder the agent that makes room.
        _try_later(at, "no room for another process, back to `accepted`")
        return
    if moves.setup.simulate and now[PROCESS + i] != PAUSED:
        _try_later(at, f"process {i} does not stand, back to `accepted`")
        return
    at.i = i
    s = moves.copy()
    if not moves.setup.simulate:
        hold(s, i, w, at.epoch)
    if not now[IMAGE + w] and at.has(RESTORING):
        s[BAD] = NO_IMAGE
    at.go(s, HOLDS)
    if moves.guards.permit:
        at.add(s, f"restores {w + 1} as process {i}, held")
        return
    _permit(at, s)
    let_run(s, i)
    at.go(s, PERMITTED)
    at.add(s, f"restores {w + 1} as process {i}, which runs")


def _is_gone(moves: Moves, w: int) -> bool:
    """Whether nothing is left of what was frozen."""
    if moves.setup.simulate:
        return moves.now[PROCESS + moves.now[WORKLOAD + w]] in (ABSENT, GONE)
    return not moves.now[IMAGE + w]


def _lose(at: At) -> None:
    """Give the run up, and say so; another that has the row by now decides for itself."""
    s = at.moves.copy()
    if not at.has(RESTORING):
        at.leave(s)
        at.add(s, f"finds nothing of {at.w + 1}, and has lost the row")
        return
    s[STATUS + at.w] = LOST if at.moves.guards.lose else ACCEPTED
    at.leave(s)
    at.add(list(s), f"finds nothing of {at.w + 1}; DIES before it says so", fault=True)
    if at.moves.guards.lose:
        s[M_CONTINUE + at.w] = GONE_MODE
    at.add(s, f"finds nothing of {at.w + 1}")


def _try_later(at: At, label: str, *, optional: bool = False) -> None:
    s = at.moves.copy()
    if at.has(RESTORING):
        s[STATUS + at.w] = ACCEPTED
    at.leave(s)
    at.add(s, label, optional=optional)


def _permit(at: At, s: State) -> None:
    now, w = at.moves.now, at.w
    s[STATUS + w], s[RESTORED_AS + w], s[LEASE + w] = RESTORED, at.i, 0
    if now[MARK] > w:
        s[BAD] = OLD_ATTEMPT if now[ATTEMPT] == 2 and w < now[ENDED_BELOW] else CANCELLED_RUN


def permit(at: At) -> None:
    """Ask Postgres whether the held process may run."""
    moves, s = at.moves, at.moves.copy()
    if at.has(RESTORING) or (moves.now[STATUS + at.w] == RESTORING and not moves.guards.permit_epoch):
        _permit(at, s)
        at.add(list(s), f"process {at.i} is permitted, answer lost", fault=True)
        at.go(s, PERMITTED)
        at.add(s, f"process {at.i} is permitted")
    elif at.has(RESTORED) and moves.now[RESTORED_AS + at.w] == at.i and moves.guards.permit_reread:
        at.go(s, PERMITTED)
        at.add(s, "reads the row: permitted")
    else:
        at.go(s, REMOVES)
        at.add(s, f"process {at.i} is not permitted")


def let_go(at: At) -> None:
    """Let the permitted process run, and send its continuation."""
    s = at.moves.copy()
    let_run(s, at.i)
    at.leave(s)
    dead = list(s)
    at.add(dead, f"lets process {at.i} run; DIES before the continuation", fault=True)
    s[M_CONTINUE + at.w] = RESTORED_MODE
    at.add(s, f"lets process {at.i} run, continuation sent")


def remove(at: At) -> None:
    """Remove my own; simulate: nothing, the take that the row calls for settles what stands."""
    moves, s = at.moves, at.moves.copy()
    if moves.now[PROCESS + at.i] == HELD:
        kill(s, at.i)
    at.leave(s)
    at.add(s, f"leaves process {at.i} to a take" if moves.setup.simulate else f"removes process {at.i}")

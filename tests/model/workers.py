"""Checkpoint workers: the next step of each, and its death at any of them."""

from collections.abc import Callable

from . import restores, takes
from .at import At
from .moves import Moves
from .processes import carry_out, free_identity, freeze, hold, let_run, verdict
from .state import (
    CLAIMED,
    COMMAND_NAMES,
    FREES_FIRST,
    FREEZE,
    FROM_EPOCH,
    FROM_WAIT,
    FROZEN,
    HOLDS,
    IDLE,
    KILL,
    LOCK,
    ORPHAN,
    ORPHAN_AT,
    ORPHAN_DOES,
    PERMITTED,
    REMOVES,
    RESTORE,
    RESTORES,
    SETTLE,
    SETTLED,
    STAND,
    STEP,
    STEP_NAMES,
    STORED,
    THAW,
    UNKNOWN,
    WAITS_FOR_LOCK,
    State,
)

STORIES: dict[int, Callable[[At], None]] = {
    WAITS_FOR_LOCK: takes.wait_for_lock,
    CLAIMED: takes.work,
    FROZEN: takes.store,
    STORED: takes.offer,
    UNKNOWN: takes.read_offer,
    SETTLE: takes.settle,
    SETTLED: takes.after_settle,
    FREES_FIRST: restores.free_first,
    RESTORES: restores.restore,
    HOLDS: restores.permit,
    PERMITTED: restores.let_go,
    REMOVES: restores.remove,
}


def steps(moves: Moves) -> None:
    """Everything that checkpoint workers may do, and what their orphaned engine commands do."""
    for t in range(moves.setup.workers):
        step = moves.now[STEP + t]
        if step == IDLE:
            takes.begin(moves, t)
            restores.begin(moves, t)
        else:
            STORIES[step](At.of(moves, t))
            _dies(At.of(moves, t), step)
    if moves.now[ORPHAN_DOES]:
        _orphan_ends(moves)
    takes.discard_late(moves)


def _dies(at: At, step: int) -> None:
    """It dies between two effects, or in an engine call that goes on without it."""
    now = at.moves.now
    s = at.moves.copy()
    at.leave(s, dead=True)
    at.add(s, f"DIES {STEP_NAMES[step]}", fault=True)
    command = _under_way(at, step)
    if not command or now[ORPHAN_DOES]:
        return
    s = at.moves.copy()
    at.leave(s, dead=True)
    i = at.i
    if command == RESTORE:
        identity = free_identity(at.moves, now, at.w)
        if identity is None:
            return
        i = identity
        s[FROM_WAIT + i], s[FROM_EPOCH + i] = at.w, at.epoch
    s[ORPHAN_DOES], s[ORPHAN_AT] = command, i
    if now[LOCK] == at.me and at.moves.guards.child_lock:
        s[LOCK] = ORPHAN
    at.add(s, f"DIES, {COMMAND_NAMES[command]} of process {i} goes on without it", fault=True)


def _under_way(at: At, step: int) -> int:
    """Return the engine command that the worker may be calling at a step."""
    if step == CLAIMED:
        return FREEZE
    if step == PERMITTED:
        return THAW
    if step == RESTORES and at.moves.guards.identity and not at.moves.setup.simulate:
        return RESTORE
    if step == SETTLE:
        decided = verdict(at.moves, at.moves.now, at.i, at.w)
        return 0 if decided == STAND else decided
    return 0


def _orphan_ends(moves: Moves) -> None:
    s: State = moves.copy()
    command, i = s[ORPHAN_DOES], s[ORPHAN_AT]
    s[ORPHAN_DOES] = s[ORPHAN_AT] = 0
    if s[LOCK] == ORPHAN:
        s[LOCK] = 0
    if command == FREEZE:
        freeze(s, i)
    elif command == RESTORE:
        hold(s, i, s[FROM_WAIT + i], s[FROM_EPOCH + i])
    elif command == THAW:
        let_run(s, i)
    elif command == KILL:
        carry_out(s, i, command)
    moves.add(s, f"orphaned engine command ends: {COMMAND_NAMES[command]} process {i}")

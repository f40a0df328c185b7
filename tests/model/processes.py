"""What engines do to processes, and the one function that settles a standing one."""

from .moves import Moves
from .rows import newest
from .state import (
    ABSENT,
    AGENT_AT,
    AGENT_DOES,
    AT_PROCESS,
    ATTEMPT_2,
    BEGUN,
    CANCELLED,
    CHECKPOINT,
    ENDED_BELOW,
    FROM_EPOCH,
    FROM_WAIT,
    FROZEN,
    GONE,
    HELD,
    IDLE,
    INBOX,
    KILL,
    ORPHAN_AT,
    ORPHAN_DOES,
    PASSED,
    PAUSED,
    PROCESS,
    RESTORED,
    RESTORED_AS,
    RUNS,
    STAND,
    STATUS,
    STEP,
    STORED,
    THAW,
    TORN,
    UNKNOWN,
    WORKERS,
    WORKLOAD,
    Seen,
    State,
)


def freeze(s: State, i: int) -> None:
    """Stop a running process where it is."""
    if s[PROCESS + i] == RUNS:
        s[PROCESS + i] = PAUSED


def thaw(s: State, i: int) -> None:
    """Let a stopped process run; an image that somebody is making of it is torn."""
    if s[PROCESS + i] != PAUSED:
        return
    s[PROCESS + i] = RUNS
    for t in range(WORKERS):
        if s[STEP + t] in (FROZEN, STORED, UNKNOWN) and s[AT_PROCESS + t] == i:
            s[TORN + t] = 1


def let_run(s: State, i: int) -> None:
    """Let a held or standing process run."""
    if s[PROCESS + i] == HELD:
        s[PROCESS + i] = RUNS
    thaw(s, i)


def kill(s: State, i: int) -> None:
    """End a process for ever."""
    if s[PROCESS + i] not in (ABSENT, GONE):
        s[PROCESS + i] = GONE
        s[PASSED + i] = s[INBOX + i] = s[FROM_WAIT + i] = s[FROM_EPOCH + i] = 0


def hold(s: State, i: int, w: int, epoch: int) -> None:
    """Restore a process from the checkpoint of a wait: it is there, and does not run yet."""
    s[PROCESS + i], s[PASSED + i], s[INBOX + i] = HELD, w, 0
    s[FROM_WAIT + i], s[FROM_EPOCH + i] = w, epoch


def verdict(moves: Moves, s: Seen, i: int, own: int) -> int:
    """Settle: what has to be done to a process that stands, by the newest wait of its workload."""
    guards = moves.guards
    w = newest(s, i) if guards.settle_newest else own
    if w is None or not s[CHECKPOINT + w]:
        return THAW
    if not moves.setup.simulate:
        return KILL
    if (s[CANCELLED + w] and guards.let_go_cancelled) or (s[STATUS + w] == RESTORED and guards.let_go_restored):
        return THAW
    return STAND if guards.leave_standing else THAW


def carry_out(s: State, i: int, command: int) -> None:
    """Carry out a verdict."""
    if command == KILL:
        kill(s, i)
    elif command == THAW:
        thaw(s, i)


def free_identity(moves: Moves, s: Seen, w: int) -> int | None:
    """Return the process that a restore makes; none if the model has no room for it."""
    if moves.setup.simulate:
        return s[WORKLOAD + w]
    if not moves.guards.identity:
        return s[WORKLOAD + w] if s[PROCESS + s[WORKLOAD + w]] in (ABSENT, GONE) else None
    named = {s[WORKLOAD + v] for v in range(moves.setup.waits) if s[BEGUN + v]}
    named |= {s[RESTORED_AS + v] for v in range(moves.setup.waits)}
    named |= {s[AT_PROCESS + t] for t in range(moves.setup.workers) if s[STEP + t] != IDLE}
    named |= {s[at] for does, at in ((ORPHAN_DOES, ORPHAN_AT), (AGENT_DOES, AGENT_AT)) if s[does]}
    free = (i for i in range(1, ATTEMPT_2) if s[PROCESS + i] in (ABSENT, GONE) and i not in named)
    return next(free, None)


def is_old(moves: Moves, s: Seen, i: int) -> bool:
    """Whether a process belongs to what the upstream has given up (asked only once it has)."""
    if moves.setup.cancel or i == 0:
        return True
    return i != ATTEMPT_2 and s[FROM_WAIT + i] < s[ENDED_BELOW]

"""What the rows say, and the changes that several transactions share."""

from .moves import Moves
from .state import (
    ACCEPTED,
    AT_EPOCH,
    BEGUN,
    CALLED_OFF,
    CANCELLED,
    CHECKPOINT,
    CLOSED,
    COMPLETED,
    DEFERRED,
    DISCARDED,
    DONE,
    EPOCH,
    FREED,
    FROM_EPOCH,
    GONE_MODE,
    HANDSHAKE,
    LEASE,
    LIVE,
    LOST,
    M_CONTINUE,
    M_RESTORE,
    M_TAKE,
    OVER,
    PROCESSES,
    REGISTERED,
    RESTORED,
    RESTORED_MODE,
    RESTORING,
    RESUMED,
    STATUS,
    TOKEN_DUE,
    WAITS,
    WORKERS,
    WORKLOAD,
    Seen,
    State,
)

KNOWN_LATE = 2  # COMPLETED, without `same_key`: a completion that found no row and told nobody


def is_open(s: Seen, w: int) -> bool:
    """Whether a checkpoint of this wait may still be taken: what every claim and offer asks."""
    return (
        s[BEGUN + w] == REGISTERED
        and s[COMPLETED + w] in (0, KNOWN_LATE)
        and not (s[RESUMED + w] or s[CANCELLED + w] or s[CALLED_OFF + w])
    )


def newest(s: Seen, i: int) -> int | None:
    """Return the newest wait that Postgres knows of a workload."""
    for w in reversed(range(WAITS)):
        if s[BEGUN + w] == REGISTERED and s[WORKLOAD + w] == i:
            return w
    return None


def unused_epoch(s: Seen, w: int) -> int:
    """Return an epoch that nobody holds: what counts is that it differs, and small numbers keep the states few."""
    used = {s[EPOCH + w], *s[AT_EPOCH : AT_EPOCH + WORKERS], *s[FROM_EPOCH : FROM_EPOCH + PROCESSES]}
    return next(e for e in range(1, len(used) + 2) if e not in used)


def close(moves: Moves, s: State, w: int) -> None:
    """Close a row (`refused`, `revoked`, `failed`): this checkpoint will not be taken."""
    s[STATUS + w], s[EPOCH + w], s[HANDSHAKE + w] = CLOSED, 0, 0
    end_manual(moves, s, w, allowed=moves.guards.manual_closed)


def put_back(moves: Moves, s: State, w: int) -> None:
    """Put a row back to `deferred`, with a countdown for its next try; a handshake begins anew."""
    s[STATUS + w], s[EPOCH + w], s[M_TAKE + w], s[HANDSHAKE + w] = DEFERRED, 0, 1, 0
    end_manual(moves, s, w, allowed=moves.guards.manual_put_back)


def end_manual(moves: Moves, s: State, w: int, *, allowed: bool) -> None:
    """Set `resume_at` of a MANUAL wait that has no time of its own."""
    if moves.setup.manual and allowed:
        s[OVER + w] = 1


def end_waits(moves: Moves, s: State, waits: range) -> None:
    """Cancel: the waits are over, and so are their continuations and what is frozen for them."""
    now, guards = moves.now, moves.guards
    for w in waits:
        if now[BEGUN + w] != REGISTERED or now[DONE + w]:
            continue
        if now[RESUMED + w] and not guards.cancel_resumed:
            continue
        if now[CALLED_OFF + w] and not guards.two_columns:
            continue
        s[CANCELLED + w] = s[TOKEN_DUE + w] = 1
        if now[STATUS + w] in (ACCEPTED, RESTORING) and guards.cancel_discards:
            s[STATUS + w], s[EPOCH + w], s[LEASE + w] = DISCARDED, 0, 0


def publish(s: State, w: int, *, checkpoint: int, status: int) -> None:
    """Send what a resumed row calls for: one function for the resume worker and the sweep."""
    if not checkpoint:
        s[M_CONTINUE + w] = LIVE
    elif status == LOST:
        s[M_CONTINUE + w] = GONE_MODE
    elif status != RESTORED:
        s[M_RESTORE + w] = 1
    else:
        s[M_CONTINUE + w] = RESTORED_MODE


def has_duty(s: Seen, w: int, *, in_any_status: bool = True) -> bool:
    """Whether an accepted checkpoint's old process still has to be freed."""
    return bool(s[CHECKPOINT + w] and not s[FREED + w] and (in_any_status or s[STATUS + w] == ACCEPTED))

"""The sweeper and the node's agent: they read Postgres, level-triggered, and send or do what is left."""

from .moves import Moves
from .processes import kill, let_run, verdict
from .rows import has_duty, is_open, publish
from .state import (
    ACCEPTED,
    AGENT_AT,
    AGENT_DOES,
    AT_PROCESS,
    BEGUN,
    CANCELLED,
    CHECKPOINT,
    CLAIM,
    COMPLETED,
    DEFERRED,
    DISCARDED,
    DONE,
    EPOCH,
    FROM_EPOCH,
    FROM_WAIT,
    HELD,
    HOLDS,
    IMAGE,
    KILL,
    LEASE,
    LOCK,
    LOST,
    M_CONTINUE,
    M_HINT,
    M_RESTORE,
    M_TAKE,
    NONE,
    OVER,
    PAUSED,
    PERMITTED,
    PROCESS,
    PROCESSES,
    REGISTERED,
    REMOVES,
    RESTORED,
    RESTORED_AS,
    RESTORING,
    RESUMED,
    STATUS,
    STEP,
    TAKING,
    THAW,
    State,
)


def steps(moves: Moves) -> None:
    """Everything that the sweeper and the agent may do."""
    for w in range(moves.setup.waits):
        if moves.now[BEGUN + w] == REGISTERED:
            _sweep_take(moves, w)
            if not moves.now[CANCELLED + w]:
                _sweep_completion(moves, w)
                _sweep_continuation(moves, w)
    if moves.guards.agent:
        _agent(moves)


def _send(moves: Moves, queue: int, w: int, label: str) -> None:
    if not moves.now[queue + w]:
        s = moves.copy()
        s[queue + w] = 1
        moves.add(s, f"sweep: {label}")


def _sweep_take(moves: Moves, w: int) -> None:
    now, guards, status = moves.now, moves.guards, moves.now[STATUS + w]
    if guards.sweep_due and status == NONE and is_open(now, w):
        _send(moves, M_TAKE, w, f"{w + 1} is due and has no row, take sent")
    elif guards.sweep_taking and status in (TAKING, DEFERRED):
        _send(moves, M_TAKE, w, f"{w + 1} is taking or deferred, take sent")
    elif guards.sweep_freed and has_duty(now, w, in_any_status=guards.freed_in_any_status):
        _send(moves, M_TAKE, w, f"{w + 1} is accepted and not freed, take sent")
    elif guards.sweep_discarded and status == DISCARDED and now[IMAGE + w]:
        _send(moves, M_TAKE, w, f"{w + 1} is discarded and has an image, take sent")


def _sweep_completion(moves: Moves, w: int) -> None:
    now, guards = moves.now, moves.guards
    by_clock = moves.setup.timed or moves.setup.manual
    if by_clock and guards.sweep_time and now[OVER + w] and not now[COMPLETED + w]:
        s = moves.copy()
        s[COMPLETED + w] = 1
        moves.add(list(s), f"sweep: the time of {w + 1} is over, complete; DIES before the hint", fault=True)
        s[M_HINT + w] = 1
        moves.add(s, f"sweep: the time of {w + 1} is over, complete, hint sent")
    if guards.sweep_unresumed and now[COMPLETED + w] == 1 and not now[RESUMED + w]:
        _send(moves, M_HINT, w, f"{w + 1} is complete and not resumed, hint sent")


def _sweep_continuation(moves: Moves, w: int) -> None:
    now, guards, status = moves.now, moves.guards, moves.now[STATUS + w]
    if not now[RESUMED + w] or now[DONE + w]:
        return
    if now[CHECKPOINT + w] and status not in (RESTORED, LOST):
        claimable = status == ACCEPTED or (status == RESTORING and not now[LEASE + w])
        if guards.sweep_restore and claimable:
            _send(moves, M_RESTORE, w, f"{w + 1} is to be restored, restore sent")
    elif guards.sweep_done and not now[M_CONTINUE + w] and not now[CLAIM + w]:
        s = moves.copy()
        publish(s, w, checkpoint=now[CHECKPOINT + w], status=status)
        moves.add(s, f"sweep: {w + 1} is not done, continuation sent again")


def _agent(moves: Moves) -> None:
    now = moves.now
    if now[AGENT_DOES]:
        s = moves.copy()
        s[AGENT_DOES] = s[AGENT_AT] = 0
        _act(s, now[AGENT_AT], now[AGENT_DOES])
        moves.add(s, f"agent acts on process {now[AGENT_AT]}")
        return
    for i in range(PROCESSES):
        command = _agent_verdict(moves, i)
        if not command:
            continue
        does = "lets run" if command == THAW else "removes"
        s = moves.copy()
        if moves.guards.agent_lock:
            _act(s, i, command)
            moves.add(s, f"agent {does} process {i}")
        else:
            s[AGENT_DOES], s[AGENT_AT] = command, i
            moves.add(s, f"agent reads without the lock that it {does} process {i}")


def _act(s: State, i: int, command: int) -> None:
    if command == THAW:
        let_run(s, i)
    else:
        kill(s, i)


def _agent_verdict(moves: Moves, i: int) -> int:
    now, setup = moves.now, moves.setup
    if now[PROCESS + i] == HELD:
        return 0 if _restorer_has_lock(moves, i) else _held_verdict(moves, i)
    if now[PROCESS + i] != PAUSED or (moves.guards.agent_lock and now[LOCK]):
        return 0
    if setup.net:
        command = verdict(moves, now, i, 0)
        return command if command in (THAW, KILL) else 0
    # Without the net: what stands in place of a held restore.
    permitted = any(now[STATUS + w] == RESTORED and now[RESTORED_AS + w] == i for w in range(setup.waits))
    return THAW if setup.simulate and permitted and verdict(moves, now, i, 0) == THAW else 0


def _restorer_has_lock(moves: Moves, i: int) -> bool:
    """Whether the node of a held process is locked; a restore elsewhere holds the lock of its own node."""
    now = moves.now
    if not moves.guards.agent_lock:
        return False
    if not (moves.setup.elsewhere or moves.setup.either) and now[LOCK]:
        return True
    return any(
        now[STEP + t] in (HOLDS, PERMITTED, REMOVES) and now[AT_PROCESS + t] == i for t in range(moves.setup.workers)
    )


def _held_verdict(moves: Moves, i: int) -> int:
    now, w = moves.now, moves.now[FROM_WAIT + i]
    if not moves.guards.identity:
        return 0
    if now[STATUS + w] == RESTORED and now[RESTORED_AS + w] == i:
        return THAW
    return 0 if now[STATUS + w] == RESTORING and now[EPOCH + w] == now[FROM_EPOCH + i] else KILL

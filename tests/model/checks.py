"""What must never be, and what must stay within reach."""

from .configurations import Configuration
from .moves import Moves
from .processes import is_old
from .rows import has_duty
from .state import (
    ACCEPTED,
    ATTEMPT,
    BAD,
    BEGUN,
    CANCELLED,
    CHECKPOINT,
    DEFERRED,
    DISCARDED,
    DONE,
    ENDED,
    ENDED_BELOW,
    FROM_EPOCH,
    FROM_WAIT,
    HELD,
    IMAGE,
    LOCK,
    LOST,
    PASSED,
    PAUSED,
    PROCESS,
    PROCESSES,
    PROGRESS,
    REGISTERED,
    RESTORED,
    RESTORING,
    RUNS,
    STATUS,
    TAKING,
    WORKLOAD,
    Seen,
)

STUCK = "STUCK: the goal can't be reached any more"
BROKEN = {
    1: "TORN: an image was accepted although its process ran",
    2: "CANCELLED: the run of a cancelled wait was restored",
    3: "OLD ATTEMPT: accepted or restored beside the new one",
    4: "EARLY: went on although its wait was not resumed",
    5: "LIVE: a live continuation although the wait has a checkpoint",
    6: "NOT ITS OWN: a late cancel ended a newer wait",
    7: "TOKEN: a row was closed because of a token alone",
    8: "NO IMAGE: restored from an image that is discarded",
    9: "NOT READY: frozen although its run was asked and had not answered",
}


def broken(setup: Configuration, s: Seen) -> str | None:
    """Return the promise that this state breaks, if any."""
    if s[BAD]:
        return BROKEN[s[BAD]]
    for w in range(setup.waits):
        i = s[WORKLOAD + w]
        if s[PROGRESS + w] > 1:
            return "DOUBLED: a wait was continued twice"
        restored_from_it = s[FROM_EPOCH + i] and s[FROM_WAIT + i] == w
        if s[STATUS + w] in (ACCEPTED, RESTORING) and s[PROCESS + i] == RUNS and not restored_from_it:
            return "FROZEN BUT RUNNING: accepted, and its process runs"
        if s[STATUS + w] == LOST and _could_go_on(setup, s, w):
            return "GIVEN UP: lost, although it runs or could be restored"
    if not s[LOCK] and any(s[PROCESS + i] == PAUSED and not _is_owned(setup, s, i) for i in range(PROCESSES)):
        return "OWNERLESS: a process stands, and no row has the duty to end that"
    return None


def _could_go_on(setup: Configuration, s: Seen, w: int) -> bool:
    if setup.simulate:
        return s[PROCESS + s[WORKLOAD + w]] in (RUNS, PAUSED)
    return bool(s[IMAGE + w]) or any(
        s[PROCESS + i] == RUNS and s[FROM_EPOCH + i] and s[FROM_WAIT + i] == w for i in range(PROCESSES)
    )


def _is_owned(setup: Configuration, s: Seen, i: int) -> bool:
    """Whether a row that a sweep, a restore or the agent acts on has the duty for a standing process."""
    standing = (ACCEPTED, RESTORING, RESTORED) if setup.simulate else ()
    return any(
        s[BEGUN + w] == REGISTERED
        and s[WORKLOAD + w] == i
        and (s[STATUS + w] == TAKING or s[STATUS + w] in standing or has_duty(s, w) or _has_image_duty(s, w))
        for w in range(setup.waits)
    )


def _has_image_duty(s: Seen, w: int) -> bool:
    return s[STATUS + w] == DISCARDED and bool(s[IMAGE + w])


def _is_quiet(setup: Configuration, s: Seen) -> bool:
    """Whether no row is left that a sweep would act on."""
    return not any(
        s[STATUS + w] in (TAKING, DEFERRED, ACCEPTED, RESTORING)
        or (s[CHECKPOINT + w] and has_duty(s, w))
        or _has_image_duty(s, w)
        or (s[BEGUN + w] == REGISTERED and not s[CANCELLED + w] and not s[DONE + w])
        for w in range(setup.waits)
    )


def is_goal(moves: Moves) -> bool:
    """Whether all is well and over: each wait continued once, one process, nothing left to do."""
    s, setup = moves.now, moves.setup
    processes = list(s[PROCESS : PROCESS + PROCESSES])
    if PAUSED in processes or HELD in processes or not _is_quiet(setup, s):
        return False
    if (s[ENDED] and setup.cancel) or LOST in s[STATUS : STATUS + setup.waits]:
        return RUNS not in processes
    if processes.count(RUNS) != 1 or any(s[PROGRESS + w] != 1 for w in range(setup.waits) if w >= _first(s)):
        return False
    i = processes.index(RUNS)
    return not s[ENDED] or (s[ATTEMPT] == 2 and s[PASSED + i] == setup.waits and not is_old(moves, s, i))


def _first(s: Seen) -> int:
    return s[ENDED_BELOW] if s[ENDED] else 0

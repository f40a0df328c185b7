"""How a state is laid out: a row of small numbers, packed into bytes so that it can be hashed and kept.

A name in capitals is a place in that row. A place that exists once for each wait, process, worker or consumer
is the first of several: `s[STATUS + w]` is the status of the checkpoint of wait `w`.
"""

from collections.abc import Sequence

State = list[int]
Seen = Sequence[int]

WAITS, WORKERS, CONSUMERS, PROCESSES = 2, 2, 2, 5
ATTEMPT_2 = PROCESSES - 1  # the process of the second attempt; 0 is the first one's, those between are restored


class _Layout:
    """Hands out the places of a state, one after the other."""

    def __init__(self) -> None:
        self.size = 0

    def place(self, count: int = 1) -> int:
        self.size += count
        return self.size - count


_layout = _Layout()

# The row of `dependency`, and of the messages that its wait caused.
BEGUN = _layout.place(WAITS)
OVER = _layout.place(WAITS)  # the truth: what is waited for has ended (for a time: `resume_at` is past)
COMPLETED = _layout.place(WAITS)
RESUMED = _layout.place(WAITS)
CANCELLED = _layout.place(WAITS)
CALLED_OFF = _layout.place(WAITS)
CHECKPOINT = _layout.place(WAITS)  # checkpoint_id, set by the accepted offer
DONE = _layout.place(WAITS)
CLAIM = _layout.place(WAITS)  # of the continuation
WORKLOAD = _layout.place(WAITS)
PROGRESS = _layout.place(WAITS)  # the truth: how often a process went on from this wait

# The row of `checkpoint`.
STATUS = _layout.place(WAITS)
EPOCH = _layout.place(WAITS)
LEASE = _layout.place(WAITS)  # of a restore
FREED = _layout.place(WAITS)
IMAGE = _layout.place(WAITS)  # the accepted image exists; 0 once discarded_at is set
RESTORED_AS = _layout.place(WAITS)
HANDSHAKE = _layout.place(WAITS)  # of a row that is `deferred`: ASKED (asked_at), READY (ready_at too)
FLUSHED = _layout.place(WAITS)  # the truth: in this wait a process said that it may be frozen

# In Redis.
M_DEFER = _layout.place(WAITS)
M_COMPLETE = _layout.place(WAITS)
M_HINT = _layout.place(WAITS)
M_FIRST = _layout.place(WAITS)  # the countdown's own first take
M_TAKE = _layout.place(WAITS)
M_RESTORE = _layout.place(WAITS)
M_CONTINUE = _layout.place(WAITS)  # LIVE, RESTORED_MODE or GONE_MODE
M_PREPARE = _layout.place(WAITS)
M_READY = _layout.place(WAITS)
M_CANCEL = _layout.place()
TOKEN = _layout.place()  # checkpoints of waits below this are revoked

# What a drain has committed and not yet said: token and removal of the held take.
TOKEN_DUE = _layout.place(WAITS)

# A process: what it does, how many waits it has passed, what it was told, and what it was restored from.
PROCESS = _layout.place(PROCESSES)
PASSED = _layout.place(PROCESSES)
INBOX = _layout.place(PROCESSES)
FROM_WAIT = _layout.place(PROCESSES)
FROM_EPOCH = _layout.place(PROCESSES)

# A checkpoint worker: where it is, what it works on.
STEP = _layout.place(WORKERS)
AT_WAIT = _layout.place(WORKERS)
AT_EPOCH = _layout.place(WORKERS)
AT_PROCESS = _layout.place(WORKERS)
WHY = _layout.place(WORKERS)
TORN = _layout.place(WORKERS)  # the truth: its process ran while it was stored
OF_WORKER = (STEP, AT_WAIT, AT_EPOCH, AT_PROCESS, WHY, TORN)

# A consumer of continuations between claim and delivery: wait + 1, mode.
TELLS = _layout.place(CONSUMERS)
TELLS_MODE = _layout.place(CONSUMERS)

# The rest.
LOCK = _layout.place()  # the node lock: 0 free, worker + 1, or ORPHAN
ORPHAN_DOES = _layout.place()  # an engine command whose worker is dead
ORPHAN_AT = _layout.place()
ENDED = _layout.place()  # the upstream has given up the run or its first attempt ...
ENDED_BELOW = _layout.place()  # ... and with it the waits below this
MARK = _layout.place()  # run_mark: waits below this are over
ATTEMPT = _layout.place()
READS_WAIT = _layout.place()  # a drain that reads before it writes (guards off only)
READ_COMPLETE = _layout.place()
READ_MARK = _layout.place()
READS_MODE_OF = _layout.place()
READ_MODE = _layout.place()
AGENT_DOES = _layout.place()
AGENT_AT = _layout.place()
DISCARDS_LATE = _layout.place(WAITS)  # guards off only
FAULTS = _layout.place()  # how many may still happen
BAD = _layout.place()  # a promise was broken; see checks.py
SIZE = _layout.size

NOT_BEGUN, SENT, REGISTERED, REFUSED = range(4)  # BEGUN
NONE, TAKING, DEFERRED, ACCEPTED, RESTORING, RESTORED, CLOSED, DISCARDED, LOST = range(9)  # STATUS
ABSENT, RUNS, PAUSED, HELD, GONE = range(5)  # PROCESS
LIVE, RESTORED_MODE, GONE_MODE = 1, 2, 3  # M_CONTINUE; the last is the news that nothing is left of the run
ASKED, READY = 1, 2  # HANDSHAKE
HOLDER_DEAD = 9  # LEASE and CLAIM: taken by somebody who died; runs out by itself
FOR_EVER = 7  # CLAIM: without `claim_expires`
ORPHAN = 8  # LOCK: held by an engine command that outlived its worker

# STEP of a checkpoint worker.
IDLE, WAITS_FOR_LOCK, CLAIMED, FROZEN, STORED, UNKNOWN, SETTLE, SETTLED = range(8)
FREES_FIRST, RESTORES, HOLDS, PERMITTED, REMOVES = range(8, 13)
STEP_NAMES = (
    *("idle", "waiting for the lock", "claimed", "frozen", "stored", "offer unanswered", "to settle", "settled"),
    *("to free the old one", "to restore", "holding", "permitted", "to remove its own"),
)
ASK, FAILED, RETRY, BY_TOKEN, DISCARD = range(5)  # WHY: what follows a settle
FREEZE, THAW, KILL, RESTORE, STAND = range(1, 6)  # engine commands; STAND: none, the process is left standing
COMMAND_NAMES = ("", "freeze", "thaw", "kill", "restore", "leave standing")

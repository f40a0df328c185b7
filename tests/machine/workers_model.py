"""The workers as a state machine's rules drive them: real stories on real servers, one step at a time."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
from by_hand import empty_redis, kwargs_of
from psycopg import Connection

from shared import seam
from shared.broker import run
from shared.db.pool import connect
from shared.messages import Continue, Refused, Restore, Take
from shared.post import envelope
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES, TaskName, checkpoints_queue
from shared.replies import read_reply
from tests.machine.upstream_model import Said
from workers.checkpoint.defer import DeferStory
from workers.checkpoint.restore import restore
from workers.checkpoint.take import take
from workers.intake import Story, handle
from workers.node.agent import be_seen, settle_what_stands
from workers.node.node import Node
from workers.resume.resume import ResumeStory
from workers.sweeper.loop import turn

QUEUES: Final = {
    TaskName.DEFER: DEFERRALS,
    TaskName.CANCEL: DEFERRALS,
    TaskName.READY: DEFERRALS,
    TaskName.COMPLETE: RESUMES,
    TaskName.RESUME: RESUMES,
    TaskName.DONE: RESUMES,
}
AT_ONCE: Final = 500
_FORGET: Final = b"TRUNCATE dependency, checkpoint, batch_item, run_mark, rejection RESTART IDENTITY CASCADE"
# Every moment of every row at once: what a clock that went on would have made of them.
_TIME_PASSES: Final = (
    b"""UPDATE dependency SET resume_at = resume_at - %(by)s, registered_at = registered_at - %(by)s,
        early_at = early_at - %(by)s, due_at = due_at - %(by)s, completed_at = completed_at - %(by)s,
        resumed_at = resumed_at - %(by)s, called_off_at = called_off_at - %(by)s, look_at = look_at - %(by)s,
        cancelled_at = cancelled_at - %(by)s, claimed_until = claimed_until - %(by)s, done_at = done_at - %(by)s""",
    b"""UPDATE checkpoint SET claimed_at = claimed_at - %(by)s, due_at = due_at - %(by)s,
        asked_at = asked_at - %(by)s, ready_at = ready_at - %(by)s,
        accepted_at = accepted_at - %(by)s, closed_at = closed_at - %(by)s, freed_at = freed_at - %(by)s,
        restored_at = restored_at - %(by)s, discarded_at = discarded_at - %(by)s,
        lease_until = lease_until - %(by)s, look_at = look_at - %(by)s""",
)


class Died(BaseException):
    """A worker was killed at a moment: nothing of what follows is done."""


class WorkersModel:
    """Drains, a checkpoint worker with its node's agent, and a sweeper.

    Args:
        node: The test's node.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.at = node.connections
        self.conn: Connection[Any] = connect(self.at.settings, name="machine")
        self._stories: dict[str, Story] = {
            DEFERRALS: DeferStory(self.at.settings, self.at.keys),
            RESUMES: ResumeStory(self.at.settings, self.at.keys),
        }

    def begin(self) -> None:
        """Forget everything that was."""
        self.conn.execute(_FORGET)
        self.lose_messages()
        be_seen(self.node)

    def item(self, said: Said) -> bytes:
        """Return an upstream's message as it lies in Redis."""
        task, fields = said
        body = msgspec.json.encode({"v": 1} | fields)
        return envelope(task, body, task_id=str(uuid4()), queue=QUEUES[TaskName(task)])

    def drain(self, *items: bytes) -> None:
        """Handle messages one by one, whatever lies on the lists."""
        for item in items:
            queue = QUEUES[TaskName(msgspec.json.decode(item)["headers"]["task"])]
            handle(self._stories[queue], [item], conn=self.conn, post=self.at.post())

    def drain_hints(self) -> list[bytes]:
        """Handle what our own workers put on `resumes`, as one batch, and return it."""
        items = self._pop(RESUMES)
        if items:
            handle(self._stories[RESUMES], items, conn=self.conn, post=self.at.post())
        return items

    def waiting_work(self) -> list[bytes]:
        """Take all takes and restores that were sent, held or due."""
        held = cast("dict[bytes, bytes]", self.at.redis.hgetall(self.at.keys.held))
        self.at.redis.delete(self.at.keys.held, self.at.keys.held_due)
        due = self._pop(checkpoints_queue(self.node.name))
        return [*(value.partition(b"\0")[2] for value in held.values()), *due]

    def put_back(self, items: list[bytes]) -> None:
        """Put takes and restores back."""
        for item in items:
            self.at.redis.lpush(self.at.keys.queue(checkpoints_queue(self.node.name)), item)

    def work(self, item: bytes) -> str:
        """Do a take or a restore; returns how it ended."""
        if msgspec.json.decode(item)["headers"]["task"] == TaskName.TAKE:
            return take(self.node, msgspec.json.decode(kwargs_of(item), type=Take))
        return restore(self.node, msgspec.json.decode(kwargs_of(item), type=Restore))

    def sweep(self) -> int:
        """One turn of a sweeper."""
        return turn(self.at, self.conn)

    def agent(self) -> None:
        """One turn of the node's agent."""
        be_seen(self.node)
        settle_what_stands(self.node)

    def time_passes(self, seconds: float) -> None:
        """Make everything older."""
        for statement in _TIME_PASSES:
            self.conn.execute(statement.replace(b"%(by)s", b"make_interval(secs => %(by)s)"), {"by": seconds})

    def replies(self) -> list[Continue | Refused]:
        """Take what lies on the upstream's queue, oldest first."""
        read = [read_reply(item) for item in self._pop(CONTINUATIONS)]
        return [reply for reply in read if isinstance(reply, Continue | Refused)]

    def lose_messages(self) -> None:
        """Empty Redis."""
        empty_redis(self.at.redis, self.at.settings.key_prefix)

    def _pop(self, queue: str) -> list[bytes]:
        (items,) = run(self.at.redis, ("RPOP", self.at.keys.queue(queue), AT_ONCE))
        return cast("list[bytes] | None", items) or []


@contextmanager
def dying(at_effect: int) -> Generator[None]:
    """Kill the worker of this process when it passes its nth effect; it may pass fewer."""
    passed = 0

    def pass_by(_name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == at_effect:
            raise Died

    seam.listen(pass_by)
    try:
        yield
    except Died:
        pass
    finally:
        seam.listen(None)

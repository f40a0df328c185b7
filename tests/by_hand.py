"""Every worker's story, called by a test one step at a time: the same code, without the processes around it.

Messages go through the test's own Redis, rows through its own Postgres, and runs are real processes.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias, cast

import msgspec
from psycopg.rows import dict_row
from redis import Redis
from runs import Run, WaitingRun
from upstream import a_completion, a_wait, dependency_id

from shared.broker import run
from shared.client import Checkpoints, Dependency
from shared.db import runs
from shared.db.deferrals import DeferAnswer
from shared.db.pool import connect
from shared.messages import Continue, Prepare, Restore, Take, Unreachable
from shared.post import envelope
from shared.queues import CONTINUATIONS, RESUMES, TaskName, checkpoints_queue
from shared.replies import Reply, read_reply
from shared.vocabulary import WaitReason
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take
from workers.intake import handle
from workers.node.agent import be_seen
from workers.node.node import Node
from workers.resume.resume import ResumeStory
from workers.sweeper.loop import turn

Ended: TypeAlias = Taken | Restored
AtEffect: TypeAlias = Callable[[str, Callable[[], object]], None]
AT_ONCE: Final = 500
# Longer than any gap of the tests' settings.
LATER: Final = timedelta(seconds=3)


class ByHand:
    """A resume worker, a checkpoint worker and a sweeper that act when they are told to.

    Args:
        node: The test's node.
        client: An upstream's, with a database.
    """

    def __init__(self, node: Node, client: Checkpoints) -> None:
        self.node = node
        self.client = client
        self.at = node.connections

    def wait_for_task(self, run: WaitingRun, number: int = 1, **fields: Any) -> DeferAnswer:
        """Register that a run waits for a task; `fields` are those of `Defer`."""
        answer = self.client.defer(a_wait(run.id, run.workload, number, **fields))
        assert answer is not None
        return answer

    def wait_for_time(self, run: WaitingRun, seconds: float, number: int = 1, **fields: Any) -> datetime:
        """Register that a run waits for a time from now, and return when that is."""
        resume_at = datetime.now(UTC) + timedelta(seconds=seconds)
        dependency = Dependency(dependency_id(run.id, number), resume_at=resume_at)
        self.wait_for_task(run, number, reason=WaitReason.DURATION, dependency=dependency, **fields)
        return resume_at

    def complete(self, run: WaitingRun, number: int = 1) -> None:
        """Say over the broker that what a run's wait is for is over, and have it resumed."""
        self.resume_worker(completion_of(run, number))

    def resume_worker(self, *more: bytes) -> None:
        """Handle what lies on `resumes`, then `more`, as one batch."""
        story = ResumeStory(self.at.settings, self.at.keys)
        with self.at.pool.connection() as conn:
            handle(story, [*self._pop(RESUMES), *more], conn=conn, post=self.at.post())

    def checkpoint_worker(self) -> list[Ended]:
        """Handle what lies on the node's queue, whatever its eta says."""
        return [self._work(raw) for raw in self._pop(checkpoints_queue(self.node.name))]

    def sweeper(
        self, *, ahead: timedelta = timedelta(0), at: datetime | None = None, node_is_silent: bool = False
    ) -> int:
        """Sweep once, as if so much time had passed, or at a moment; return how many rows were looked at."""
        if not node_is_silent:
            be_seen(self.node)
        with connect(self.at.settings, name="sweeper by hand") as conn:
            conn.execute("SELECT set_config('checkpoint.clock', coalesce(%s, now() + %s)::text, false)", (at, ahead))
            if not node_is_silent and at is None:
                # As its agent would until then.
                conn.execute("UPDATE node SET seen_at = clock() WHERE name = %s", (self.node.name,))
            return turn(self.at, conn)

    def see_node_at(self, ahead: timedelta) -> None:
        """Have the node seen for the last time at a moment from now."""
        with self.at.pool.connection() as conn:
            conn.execute("UPDATE node SET seen_at = now() + %s WHERE name = %s", (ahead, self.node.name))

    def gone_for(self, run: WaitingRun, *, milliseconds: int, number: int = 1) -> None:
        """Have a run's image not been found for so long."""
        with self.at.pool.connection() as conn:
            conn.execute(
                "UPDATE checkpoint SET gone_since = gone_since - milliseconds(%s) WHERE dependency_id = %s",
                (milliseconds, dependency_id(run.id, number)),
            )

    def happened(self, run: WaitingRun) -> list[str]:
        """Return the events of a run's timeline, in their order."""
        with self.at.pool.connection() as conn:
            return [one.event for one in runs.timeline(conn, run.id)]

    def time_passes(self, run: Run, *, seconds: float, number: int = 1) -> None:
        """Make a wait older by so much, all of its moments alike."""
        with self.at.pool.connection() as conn:
            conn.execute(
                """UPDATE dependency SET registered_at = registered_at - age, due_at = due_at - age,
                          look_at = look_at - age FROM (SELECT make_interval(secs => %s) AS age) AS passed
                    WHERE id = %s""",
                (seconds, dependency_id(run.id, number)),
            )

    def held(self) -> list[datetime]:
        """Return when each countdown that Redis holds is due."""
        (due,) = run(self.at.redis, ("ZRANGE", self.at.keys.held_due, 0, -1, "WITHSCORES"))
        return [datetime.fromtimestamp(score / 1000, UTC) for _, score in cast("list[tuple[bytes, float]]", due)]

    def let_countdowns_end(self) -> None:
        """Hand every held message to its queue, due or not."""
        held = cast("dict[bytes, bytes]", self.at.redis.hgetall(self.at.keys.held))
        self.at.redis.delete(self.at.keys.held, self.at.keys.held_due)
        for value in held.values():
            queue, _, message = value.partition(b"\0")
            self.at.redis.lpush(queue, message)

    def lose_messages(self) -> None:
        """Empty the test's part of Redis, as a FLUSHALL would."""
        empty_redis(self.at.redis, self.at.settings.key_prefix)

    def continuations(self) -> list[Continue]:
        """Return the continuations that were sent and that nobody took, oldest first."""
        return [reply for reply in self._replies() if isinstance(reply, Continue)]

    def questions(self) -> list[Prepare]:
        """Return each `run.prepare` that was sent and that nobody took, oldest first."""
        return [reply for reply in self._replies() if isinstance(reply, Prepare)]

    def out_of_reach(self) -> list[Unreachable]:
        """Return what was said of runs that cannot be reached, oldest first."""
        return [reply for reply in self._replies() if isinstance(reply, Unreachable)]

    def asked_of(self, node: str) -> list[str]:
        """Return the names of the messages that lie on a node's queue, oldest first."""
        return [_task_of(raw) for raw in self._lying(checkpoints_queue(node))]

    def continuation(self) -> Continue:
        """Return the only continuation."""
        (only,) = self.continuations()
        return only

    def wait_row(self, run: WaitingRun, number: int = 1) -> dict[str, Any]:
        """Return the row of a wait."""
        return self._row(b"SELECT * FROM dependency WHERE id = %s", dependency_id(run.id, number)) or {}

    def checkpoint_row(self, run: WaitingRun, number: int = 1) -> dict[str, Any] | None:
        """Return the row of a wait's checkpoint; None: it has none."""
        return self._row(b"SELECT * FROM checkpoint WHERE dependency_id = %s", dependency_id(run.id, number))

    def _replies(self) -> list[Reply | None]:
        return [read_reply(raw) for raw in self._lying(CONTINUATIONS)]

    def _lying(self, queue: str) -> list[bytes]:
        return cast("list[bytes]", self.at.redis.lrange(self.at.keys.queue(queue), 0, -1))[::-1]

    def _row(self, query: bytes, id_: str) -> dict[str, Any] | None:
        with self.at.pool.connection() as conn:
            return conn.cursor(row_factory=dict_row).execute(query, (id_,)).fetchone()

    def _work(self, raw: bytes) -> Ended:
        if _task_of(raw) == TaskName.TAKE:
            return take(self.node, msgspec.json.decode(kwargs_of(raw), type=Take))
        return restore(self.node, msgspec.json.decode(kwargs_of(raw), type=Restore))

    def _pop(self, queue: str) -> list[bytes]:
        return cast("list[bytes] | None", self.at.redis.rpop(self.at.keys.queue(queue), AT_ONCE)) or []


def empty_redis(client: Redis, prefix: str) -> None:
    """Delete every key of one test, as FLUSHALL deletes those of all."""
    (kept,) = run(client, ("KEYS", f"{prefix}*"))
    names = cast("list[bytes]", kept)
    if names:
        client.delete(*names)


def first_take(run: Run, number: int = 1) -> Take:
    """Return the message of a wait's own countdown."""
    return Take(v=1, dependency_id=dependency_id(run.id, number), run_id=run.id, wait_number=number, first=True)


def completion_of(run: WaitingRun, number: int = 1) -> bytes:
    """Return the message that what a run's wait is for is over, as it lies on `resumes`."""
    return envelope(TaskName.COMPLETE, a_completion(run.id, number), task_id=f"{run.id}-{number}", queue=RESUMES)


def _task_of(raw: bytes) -> str:
    return msgspec.json.decode(raw)["headers"]["task"]


def kwargs_of(raw: bytes) -> bytes:
    """Return the keyword arguments of a message."""
    body: str = msgspec.json.decode(raw)["body"]
    _, kwargs, _ = msgspec.json.decode(b64decode(body), type=tuple[Any, msgspec.Raw, Any])
    return bytes(kwargs)

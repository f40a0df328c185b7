"""What a Python upstream imports: register waits, complete what they wait for, call off, get ready, go on.

With a database an answer is sure at once, and is returned. Over the broker alone a message is only as safe as Redis:
None is returned, and an upstream repeats it until `message.taken` came. A caller's own connection makes a call part
of the caller's transaction; then a sweeper sends what follows from it.
"""

from collections.abc import Callable, Generator, Sequence
from threading import Event
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import msgspec
import structlog
from psycopg import Connection
from redis import RedisError
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from shared.answers import answer_or_refusal, single
from shared.broker import Keys, connect
from shared.db import deferrals, dependencies, door
from shared.db.deferrals import CancelAnswer, DeferAnswer, Deferral, Kind, ReadyAnswer
from shared.db.dependencies import CompleteAnswer
from shared.db.moment import is_rolled_back
from shared.db.pool import Pool, open_pool
from shared.errors import BadRequest, Refused
from shared.follow_ups import add_follow_up, add_hint
from shared.messages import (
    Cancel,
    CancelCause,
    Complete,
    Continue,
    Defer,
    Dependency,
    Done,
    Message,
    Prepare,
    Ready,
    Unreachable,
    Workload,
)
from shared.post import Post
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES, TaskName
from shared.replies import Reply, take_replies
from shared.settings import Settings
from shared.writing import written

__all__ = [
    "Cancel",
    "CancelCause",
    "Checkpoints",
    "Complete",
    "Continue",
    "Defer",
    "Dependency",
    "Prepare",
    "Refused",
    "Unreachable",
    "Workload",
]

MANY_MAX: Final = 1_000
WRITE_TRIES: Final = 5
M = TypeVar("M", bound=Message)
A = TypeVar("A", bound=msgspec.Struct)
T = TypeVar("T")

log = structlog.get_logger(__name__)


class Checkpoints:
    """An upstream's side of the contract. Shared by threads.

    Args:
        settings: Where the servers are; an upstream of its own makes them with `Settings(database_url=...)`.
        uses_database: False: over the broker alone.

    Raises:
        Unreachable: Postgres cannot be reached.
        SchemaMismatch: The database lacks migrations of this release.
    """

    def __init__(self, settings: Settings, *, uses_database: bool = True) -> None:
        self._settings = settings
        self._keys = Keys(settings.key_prefix)
        self._redis = connect(settings)
        self._pool: Pool | None = open_pool(settings, name="client", size=4) if uses_database else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
        if self._pool is not None:
            self._pool.close()

    def defer(
        self, wait: Defer, *, conn: Connection[Any] | None = None, message_id: str | None = None
    ) -> DeferAnswer | None:
        """Register a wait and defer its checkpoint.

        Args:
            wait: The run, what it waits for, where it runs.
            conn: The caller's own connection, in whose transaction the wait is registered.
            message_id: Over the broker alone, the message's id, which `message.taken` and `run.refused` name; repeat
                a message under its id. None: a new one.

        Raises:
            Refused: A rule says no; nothing was changed.
        """
        return single(self.defer_many([wait], conn=conn, message_ids=_listed(message_id)))

    def defer_many(
        self, waits: Sequence[Defer], *, conn: Connection[Any] | None = None, message_ids: Sequence[str] | None = None
    ) -> list[DeferAnswer | Refused] | None:
        """Register up to 1,000 waits in one transaction, each answered for itself.

        Raises:
            Refused: A message is malformed, or there are too many; nothing was changed.
        """
        return self._deferrals("defer", waits, DeferAnswer, conn=conn, message_ids=message_ids)

    def cancel(
        self, cancel: Cancel, *, conn: Connection[Any] | None = None, message_id: str | None = None
    ) -> CancelAnswer | None:
        """Call off what is deferred or being taken for a run, or end its waits.

        Raises:
            Refused: The message is malformed; nothing was changed.
        """
        ids = _listed(message_id)
        return single(self._deferrals("cancel", [cancel], CancelAnswer, conn=conn, message_ids=ids))

    def ready(
        self, run_id: str, wait_number: int, *, receipt_to: str | None = None, message_id: str | None = None
    ) -> bool | None:
        """Answer `run.prepare`: the run has flushed and may be frozen. True once; False: not asked, or too late.

        Raises:
            Refused: The message is malformed; nothing was changed.
        """
        message = Ready(v=1, run_id=run_id, wait_number=wait_number, receipt_to=receipt_to)
        ids = _listed(message_id)
        answer = single(self._deferrals("ready", [message], ReadyAnswer, conn=None, message_ids=ids))
        return None if answer is None else answer.will_checkpoint

    def complete(
        self, completion: Complete, *, conn: Connection[Any] | None = None, message_id: str | None = None
    ) -> CompleteAnswer | None:
        """Say that what a run waited for is over; the wait is resumed, also when it comes later.

        Raises:
            Refused: A rule says no; nothing was changed.
        """
        return single(self.complete_many([completion], conn=conn, message_ids=_listed(message_id)))

    def complete_many(
        self,
        completions: Sequence[Complete],
        *,
        conn: Connection[Any] | None = None,
        message_ids: Sequence[str] | None = None,
    ) -> list[CompleteAnswer | Refused] | None:
        """Complete up to 1,000 dependencies in one transaction, each answered for itself.

        Raises:
            Refused: A message is malformed, or there are too many; nothing was changed.
        """
        bodies = [written(one) for one in _bounded(completions)]
        if conn is not None:
            return [answer_or_refusal(one, CompleteAnswer) for one in door.call(conn, "complete", bodies)]
        if self._pool is None:
            return self._send(RESUMES, TaskName.COMPLETE, bodies, message_ids)
        result = self._write(lambda own: dependencies.complete(own, bodies, how="hint"), self._pool)
        post = self._post()
        for dependency_id in result.completed:
            add_hint(post, dependency_id)
        _send_softly(post)
        return [answer_or_refusal(one.refused or one, CompleteAnswer) for one in result.answers]

    def claim(self, continuation_id: str) -> bool:
        """Claim a continuation for a while; True for one caller. It thins out repeats, and decides nothing.

        Raises:
            BadRequest: There is no database.
        """
        if self._pool is None:
            raise BadRequest("claim needs a database; this client has the broker alone. Ignore repeats by wait number.")
        with self._pool.connection() as conn:
            return door.claim_continuation(conn, continuation_id)

    def done(
        self,
        continuation_id: str,
        *,
        conn: Connection[Any] | None = None,
        receipt_to: str | None = None,
        message_id: str | None = None,
    ) -> bool | None:
        """Say, for the process that goes on, that it has its continuation: it is not sent again. True once.

        It also answers a final `Unreachable`: nothing of that run will go on.

        Args:
            continuation_id: That of the continuation.
            conn: The caller's own connection, in whose transaction it is said.
            receipt_to: Over the broker alone, the reply queue on which `message.taken` is heard.
            message_id: Over the broker alone, the message's id, which `message.taken` names.
        """
        if conn is not None:
            return door.finish_continuation(conn, continuation_id)
        if self._pool is None:
            message = Done(v=1, continuation_id=continuation_id, receipt_to=receipt_to)
            return self._send(RESUMES, TaskName.DONE, [written(message)], _listed(message_id))
        with self._pool.connection() as own:
            return door.finish_continuation(own, continuation_id)

    def replies(self, queue: str = CONTINUATIONS, *, stopping: Event) -> Generator[Reply]:
        """Yield what comes on a reply queue until told to stop: continuations, refusals, receipts, runs out of reach.

        A continuation that is lost on the way is sent again until `done`; ignore one whose wait the run has passed.
        """
        yield from take_replies(self._settings, queue, stopping=stopping)

    def _deferrals(
        self,
        kind: Kind,
        messages: Sequence[Defer] | Sequence[Cancel] | Sequence[Ready],
        type_: type[A],
        *,
        conn: Connection[Any] | None,
        message_ids: Sequence[str] | None,
    ) -> list[A | Refused] | None:
        bodies = [written(one) for one in _bounded(messages)]
        if conn is not None and kind != "ready":
            return [answer_or_refusal(one, type_) for one in door.call(conn, kind, bodies)]
        if self._pool is None:
            return self._send(DEFERRALS, TaskName(f"checkpoint.{kind}"), bodies, message_ids)
        results = self._write(lambda own: deferrals.apply(own, [Deferral(kind, body) for body in bodies]), self._pool)
        post = self._post()
        for message, result in zip(messages, results, strict=True):
            add_follow_up(post, message, result, settings=self._settings, keys=self._keys)
        _send_softly(post)
        return [answer_or_refusal(result.refused or result.answer or {}, type_) for result in results]

    @staticmethod
    def _write(work: Callable[[Connection[Any]], T], pool: Pool) -> T:
        """Write in a transaction of our own; one that Postgres ended for a deadlock is tried again."""
        for attempt in Retrying(
            retry=retry_if_exception(is_rolled_back), stop=stop_after_attempt(WRITE_TRIES), reraise=True
        ):
            with attempt, pool.connection() as conn, conn.transaction():
                return work(conn)
        raise AssertionError  # Retrying returns or raises

    def _send(self, queue: str, task: TaskName, bodies: Sequence[bytes], ids: Sequence[str] | None) -> None:
        if ids is not None and len(ids) != len(bodies):
            raise BadRequest(f"{len(ids)} message_ids for {len(bodies)} messages; expected one for each.")
        post = self._post()
        for body, id_ in zip(bodies, ids or [str(uuid4()) for _ in bodies], strict=True):
            post.add(queue, task, body, task_id=id_)
        post.send()

    def _post(self) -> Post:
        return Post(self._redis, self._keys, holds=self._settings.transport == "deferred")


def _send_softly(post: Post) -> None:
    """Send what follows from a commit: a sweep sends it too, so a Redis that is away is no error of the call."""
    try:
        post.send()
    except RedisError as error:
        log.warning("message.left-to-sweeper", error=str(error))


def _listed(message_id: str | None) -> list[str] | None:
    return None if message_id is None else [message_id]


def _bounded(messages: Sequence[M]) -> Sequence[M]:
    if len(messages) > MANY_MAX:
        raise Refused(f"{len(messages)} messages in one call; expected at most {MANY_MAX}. Send them in parts.")
    return messages

"""What every drain does with a batch of messages: read, refuse by name, write in one transaction, then answer.

The story (`resume`, `defer`) writes; here is what all of them share. Nothing is sent before the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog
from psycopg import Connection

from shared.db import locks, rejections
from shared.db.deferrals import Refusal
from shared.errors import Refused
from shared.letters import Letter, Return, open_letter, return_to_sender
from shared.messages import Message, Taken
from shared.messages import Refused as RunRefused
from shared.post import Post
from shared.queues import CONTINUATIONS, TaskName
from shared.seam import effect
from workers.shown import Shown

LOCK_LIMIT: Final = timedelta(seconds=1)  # ours hold theirs for some 50 ms

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """What a story wrote: which letters a rule refused, what to send after the commit, what to show of it."""

    refused: Mapping[int, Refusal] = field(default_factory=dict[int, Refusal])
    follow: Callable[[Post], None] = lambda _post: None
    shown: Sequence[Shown] = ()


class Story(Protocol):
    """What a drain's messages mean."""

    queue: str
    types: Mapping[TaskName, type[Message]]

    def write(self, conn: Connection[Any], letters: Sequence[Letter]) -> Written:
        """Write what the letters say, in the caller's transaction, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a batch, for whoever watches: the letters that were taken, and those refused."""

    letters: Sequence[Letter]
    returns: Sequence[Return]
    shown: Sequence[Shown] = ()


def handle(
    story: Story, raws: Sequence[bytes], *, conn: Connection[Any], post: Post, lock_limit: timedelta = LOCK_LIMIT
) -> Handled:
    """Take a batch from its bytes to its answers; repeated whole after any error, since every step may be.

    Args:
        story: What the messages mean.
        raws: As they lay in Redis, in their order.
        conn: Outside any transaction.
        post: Empty.
        lock_limit: How long each statement waits for a row that another transaction holds.

    Raises:
        psycopg.Error: Nothing was written.
        redis.RedisError: All was written, not all was sent. That Redis is full is none: what it has no room for stays
            in the post, and a sweep finds it too; the batch must not wait for room that only draining makes.
    """
    opened = [open_letter(raw, queue=story.queue, types=story.types) for raw in raws]
    letters = [one for one in opened if isinstance(one, Letter)]
    returns = [one for one in opened if isinstance(one, Return)]
    with conn.transaction():
        locks.limit(conn, lock_limit)
        written = story.write(conn, letters) if letters else Written()
        returns += [
            return_to_sender(letters[number], _as_error(refusal), queue=story.queue)
            for number, refusal in written.refused.items()
        ]
        returns = [_addressed(conn, one) for one in returns]
        if returns:
            rejections.keep(conn, [one.rejection for one in returns])
    effect(f"{story.queue}.committed")
    written.follow(post)
    _add_receipts(post, letters, written.refused)
    for one in returns:
        _add_refusal(post, one)
    post.send_what_fits()
    effect(f"{story.queue}.sent")
    return Handled(letters, returns, written.shown)


def set_aside(story: Story, raw: bytes, error: Exception, *, conn: Connection[Any], post: Post) -> Handled:
    """Refuse one message that Postgres could not take, for example a NUL in an outcome; its sender is told."""
    opened = open_letter(raw, queue=story.queue, types=story.types)
    if isinstance(opened, Letter):
        refused = Refused(f"it could not be handled: {error}. Correct the message and send it again.")
        opened = return_to_sender(opened, refused, queue=story.queue)
    with conn.transaction():
        returned = _addressed(conn, opened)
        rejections.keep(conn, [returned.rejection])
    _add_refusal(post, returned)
    post.send_what_fits()
    return Handled([], [returned])


def _as_error(refusal: Refusal) -> Refused:
    return Refused(refusal.problem, code=refusal.code, **refusal.facts)


def _addressed(conn: Connection[Any], returned: Return) -> Return:
    """Find who is told beside `receipt_to` where no `reply_to` is named: nobody, if neither wait nor run is."""
    rejection = returned.rejection
    log.info(
        "message.refused",
        code=rejection.code,
        problem=rejection.problem,
        queue=rejection.queue,
        task=rejection.message,
        message_id=rejection.message_id,
        run_id=rejection.run_id,
        dependency_id=rejection.dependency_id,
        facts=rejection.facts,
    )
    if returned.reply_to or not (rejection.run_id or rejection.dependency_id):
        return returned
    found = rejections.reply_to(conn, run_id=rejection.run_id, dependency_id=rejection.dependency_id)
    return replace(returned, reply_to=found or CONTINUATIONS)


def _add_refusal(post: Post, returned: Return) -> None:
    rejection = returned.rejection
    message = RunRefused(
        v=1,
        message=rejection.message,
        id=rejection.message_id,
        run_id=rejection.run_id,
        dependency_id=rejection.dependency_id,
        code=rejection.code,
        problem=rejection.problem,
        facts=rejection.facts,
    )
    for queue in returned.to:
        post.add(queue, TaskName.REFUSED, message, task_id=str(uuid4()))


def _add_receipts(post: Post, letters: Sequence[Letter], refused: Mapping[int, Refusal]) -> None:
    for number, letter in enumerate(letters):
        queue = getattr(letter.message, "receipt_to", None)
        if queue is not None and number not in refused:
            receipt = Taken(v=1, message=letter.task, id=letter.id)
            post.add(queue, TaskName.TAKEN, receipt, task_id=str(uuid4()))

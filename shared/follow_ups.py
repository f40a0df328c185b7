"""What is sent once a registration, a cancel or an answer was committed: by the drain, and by a client with a database.

Everything here is a hint that a sweep would give too, only later. Source: the design, section 5.
"""

from datetime import timedelta
from uuid import uuid4

from shared.broker import Keys
from shared.db.deferrals import DeferAnswer, DueTake, Result
from shared.messages import Cancel, Defer, Ready, Resume, Take
from shared.post import Post
from shared.queues import RESUMES, TaskName, checkpoints_queue
from shared.settings import Settings
from shared.task_ids import take_id
from shared.tokens import raise_commands


def add_follow_up(
    post: Post, message: Defer | Cancel | Ready, result: Result, *, settings: Settings, keys: Keys
) -> None:
    """Add what one applied message calls for: the take with its countdown, the hint, the token."""
    if isinstance(message, Defer) and result.answer is not None:
        _add_take_or_hint(post, message, result.defer_answer(), settings=settings)
    if isinstance(message, Ready) and result.take is not None:
        _add_due_take(post, message, result.take)
    if result.token is not None:
        ttl = timedelta(milliseconds=settings.token_ttl_ms)
        for command in raise_commands(keys, [result.token], ttl=ttl):
            post.then(*command)


def _add_take_or_hint(post: Post, message: Defer, answer: DeferAnswer, *, settings: Settings) -> None:
    if answer.duplicate:
        return
    if answer.complete:
        add_hint(post, answer.dependency_id)
    elif answer.will_checkpoint and answer.delay_ms <= settings.countdown_horizon_ms:
        post.add(
            checkpoints_queue(message.workload.node),
            TaskName.TAKE,
            Take(
                v=1,
                dependency_id=answer.dependency_id,
                run_id=message.run_id,
                wait_number=message.wait_number,
                first=True,
                traceparent=message.traceparent,
            ),
            task_id=take_id(message.run_id, message.wait_number),
            countdown=timedelta(milliseconds=answer.delay_ms),
            traceparent=message.traceparent,
        )


def _add_due_take(post: Post, message: Ready, take: DueTake) -> None:
    post.add(
        checkpoints_queue(take.node),
        TaskName.TAKE,
        Take(
            v=1,
            dependency_id=take.dependency_id,
            run_id=message.run_id,
            wait_number=message.wait_number,
            traceparent=take.traceparent,
        ),
        task_id=take_id(message.run_id, message.wait_number),
        traceparent=take.traceparent,
    )


def add_hint(post: Post, dependency_id: str) -> None:
    """Ask the resume worker to look at a row that is complete."""
    post.add(RESUMES, TaskName.RESUME, Resume(v=1, dependency_id=dependency_id), task_id=str(uuid4()))

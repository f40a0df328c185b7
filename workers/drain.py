"""A drain: takes a queue's messages in batches inside an ordinary Celery worker, so that Flower sees the worker.

One thread with its own connections reads the list itself: through kombu's path for each message the same costs four
times as much, and a kill -9 there can lose a message. What is taken lies in a list of this drain's own until the
next turn acknowledges it; the list of a drain whose lease is over is put back by the others. Source: the design,
section 2.
"""

import os
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from importlib.resources import files
from threading import Event, Thread
from typing import Any, Final, cast
from uuid import uuid4

import structlog
from psycopg import Connection
from redis import RedisError
from redis.exceptions import OutOfMemoryError
from structlog.contextvars import bind_contextvars

from shared.broker import Command, Keys, connect, round_trip, run
from shared.db.moment import is_of_the_moment
from shared.db.pool import check
from shared.db.pool import connect as connect_postgres
from shared.post import Post
from shared.pulse import Pulse
from shared.settings import Settings
from workers.halves import Halves, Kept
from workers.intake import Handled, Story, handle, set_aside
from workers.watchers import Watcher

BATCH_MESSAGES: Final = 500  # 100 cost 0.03 ms a message more, 1,000 nothing less
BATCH_BYTES: Final = 8 * 1024 * 1024
BLOCK_SECONDS: Final = 1  # also the longest time until a stop is heard
LEASE_MS: Final = 6_000  # several turns; a killed drain's messages come back after it
AWAY: Final = 0.2  # seconds between two looks at a server that is away
PROOF_SECONDS: Final = 5.0  # an idle drain looks this often whether Postgres is there
UNSENT_MAX: Final = 10  # batches whose answers wait here for room in Redis; what a sweep finds is left to it
EXIT_BROKEN: Final = 70

TAKE_SCRIPT: Final = files("workers").joinpath("take.lua").read_text()
# A full Redis runs it all the same: what is taken is what makes room. Redis 6.2 knows no such flag, and refuses.
TAKE_WHEN_FULL_SCRIPT: Final = f"#!lua flags=allow-oom\n{TAKE_SCRIPT}"
KEEP_SCRIPT: Final = files("workers").joinpath("keep.lua").read_text()
KEPT_MAX: Final = 10 * BATCH_MESSAGES  # then nothing new is taken

log = structlog.get_logger(__name__)


class Drain:
    """The thread that takes a story's messages.

    Args:
        story: What the messages mean.
        settings: Where the servers are.
        watcher: Is told of every batch.
    """

    def __init__(self, story: Story, settings: Settings, watcher: Watcher) -> None:
        self._story = story
        self._settings = settings
        self._watcher = watcher
        keys = Keys(settings.key_prefix)
        self._keys = keys
        self._redis = connect(settings, blocking=True)
        self._queue = keys.queue(story.queue)
        # Not the worker's name: two workers that share one by mistake would acknowledge each other's messages.
        self._taken = keys.taken(story.queue, uuid4().hex)
        self._lists = (self._queue, self._taken, keys.drains(story.queue))
        self._conn: Connection[Any] | None = None
        self._is_in_doubt = True  # something may lie in our list that was not handled
        self._kept = Kept()
        self._unsent: deque[Post] = deque(maxlen=UNSENT_MAX)
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=f"drain-{story.queue}", daemon=True)
        self._proven_at = -PROOF_SECONDS
        self.pulse = Pulse(f"the drain of {story.queue}", limit_seconds=settings.health_limit_ms / 1000)

    def start(self) -> None:
        """Begin to take messages."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it, and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        bind_contextvars(queue=self._story.queue)
        try:
            while not self._stopping.is_set():
                self._turn()
            self._leave()
        except BaseException:
            # A worker without its drain looks healthy and does nothing: it has to end, and is started again.
            log.critical("drain.broken", exc_info=True)
            os._exit(EXIT_BROKEN)

    def _turn(self) -> None:
        """Take and handle one batch; a server that is away costs nothing but time."""
        try:
            batch = self._take()
            if batch:
                self._watcher.taken(self._story.queue, self._handle(batch))
            else:
                self._prove_postgres()
            self._is_in_doubt = False
            waited = self.pulse.turned()
            if waited is not None:
                log.info("drain.back", queue=self._story.queue, seconds=round(waited, 1))
        except Exception as error:
            if not (isinstance(error, RedisError) or is_of_the_moment(error)):
                raise
            waited = self.pulse.waits(error)
            if waited is not None:
                why = str(error).strip()
                log.warning("drain.waiting", queue=self._story.queue, error=why, seconds=round(waited, 1))
            self._stopping.wait(AWAY)

    def _take(self) -> list[bytes]:
        """Acknowledge the last batch and take the next, in one packet that wakes with the first message."""
        take: Command = ("EVAL", TAKE_SCRIPT, 3, *self._lists, *self._limits())
        commands: list[Command] = [take]
        if not self._is_in_doubt:
            # The server holds the script back until the second command has a message.
            commands = [
                self._acknowledge(),
                ("BLMOVE", self._queue, self._taken, "RIGHT", "RIGHT", BLOCK_SECONDS),
                take,
            ]
        # Before it is sent: if the answer is lost, our list may hold what nobody was told of, and the next packet
        # must not begin with the DEL.
        self._is_in_doubt = True
        answers = round_trip(self._redis, commands)
        for answer in answers:
            if isinstance(answer, OutOfMemoryError):
                return self._take_when_full()
            if isinstance(answer, RedisError):
                raise answer
        self._send_unsent()
        return cast("list[bytes]", answers[-1])

    def _limits(self) -> tuple[int, int, int]:
        kept = self._kept.messages
        most = BATCH_MESSAGES + min(len(kept), KEPT_MAX)
        return most, BATCH_BYTES + sum(map(len, kept)), LEASE_MS

    def _acknowledge(self) -> Command:
        if self._kept.messages:
            return ("EVAL", KEEP_SCRIPT, 1, self._taken, *self._kept.messages)
        return ("DEL", self._taken)

    def _take_when_full(self) -> list[bytes]:
        """Take without waiting on the server: BLMOVE is refused there however little it moves."""
        take: Command = ("EVAL", TAKE_WHEN_FULL_SCRIPT, 3, *self._lists, *self._limits())
        batch = cast("list[bytes]", run(self._redis, take)[0])
        if not batch:
            self._stopping.wait(AWAY)
        return batch

    def _send_unsent(self) -> None:
        """Send what a full Redis refused, now that it takes writes again."""
        while self._unsent:
            self._unsent[0].send_what_fits()
            if self._unsent[0].is_unsent:
                return
            self._unsent.popleft()

    def _handle(self, batch: Sequence[bytes]) -> Handled:
        handled, kept = Halves(self._story, self._write, self._set_aside).take(batch, self._kept)
        if len(kept.messages) != len(self._kept.messages):
            log.warning("drain.blocked", queue=self._story.queue, messages=len(kept.messages))
        self._kept = kept
        return handled

    def _write(self, batch: Sequence[bytes], lock_limit: timedelta) -> Handled:
        post = self._post()
        handled = handle(self._story, batch, conn=self._postgres(), post=post, lock_limit=lock_limit)
        self._keep_unsent(post)
        return handled

    def _set_aside(self, raw: bytes, error: Exception) -> Handled:
        log.error("message.set-aside", queue=self._story.queue, exc_info=error)
        post = self._post()
        handled = set_aside(self._story, raw, error, conn=self._postgres(), post=post)
        self._keep_unsent(post)
        return handled

    def _keep_unsent(self, post: Post) -> None:
        if post.is_unsent:
            self._unsent.append(post)

    def _prove_postgres(self) -> None:
        """Touch Postgres now and then, so that an idle worker without one is not called ready."""
        if time.monotonic() - self._proven_at >= PROOF_SECONDS:
            check(self._postgres())
            self._proven_at = time.monotonic()

    def _postgres(self) -> Connection[Any]:
        if self._conn is None or self._conn.closed:
            self._conn = connect_postgres(self._settings, name=f"drain {self._story.queue}")
        return self._conn

    def _post(self) -> Post:
        return Post(self._redis, self._keys, holds=self._settings.transport == "deferred")

    def _leave(self) -> None:
        """Acknowledge what was handled; what was not is put back by the others when the lease is over."""
        try:
            if not self._is_in_doubt:
                leave: Command = ("ZREM", self._lists[2], self._taken)
                if self._kept.messages:
                    # The others' at once, as if our lease were over.
                    leave = ("ZADD", self._lists[2], 0, self._taken)
                run(self._redis, self._acknowledge(), leave)
        except RedisError as error:
            log.warning("drain.left-unacknowledged", error=str(error))
        if self._conn is not None:
            self._conn.close()
        self._redis.close()

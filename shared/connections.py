"""What a process is connected to: its settings, Postgres and Redis."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import structlog
from redis import Redis, RedisError

from shared.broker import Keys, connect
from shared.db import settings as published
from shared.db.pool import Pool, open_pool
from shared.post import Post
from shared.settings import Settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connections:
    """Shared by the threads of one process."""

    settings: Settings
    pool: Pool
    redis: Redis
    keys: Keys

    @classmethod
    def open(cls, settings: Settings, *, name: str, size: int) -> Self:
        """Connect, and publish the settings that rules in SQL need.

        Args:
            settings: Where the servers are.
            name: Who we are, for `pg_stat_activity`.
            size: Connections to Postgres, at most.

        Raises:
            Unreachable: Postgres cannot be reached.
            SchemaMismatch: The database lacks migrations of this release.
        """
        pool = open_pool(settings, name=name, size=size)
        with pool.connection() as conn:
            published.publish(conn, settings)
        return cls(settings, pool, connect(settings), Keys(settings.key_prefix))

    def post(self) -> Post:
        """Return a post of the calling thread's own."""
        return Post(self.redis, self.keys, holds=self.settings.transport == "deferred")

    @contextmanager
    def hints(self) -> Generator[Post]:
        """Send messages at the end of the block; all of them are found by a sweep too, so no Redis is no error."""
        post = self.post()
        yield post
        try:
            post.send()
        except RedisError as error:
            log.warning("message.left-to-sweeper", error=str(error))

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()
        self.redis.close()

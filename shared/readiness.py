"""What a starter asks of Redis before it calls everything ready; of Postgres: `shared/db/readiness.py`."""

from typing import Any

from redis import Redis, RedisError

from shared.broker import CONNECT_TIMEOUT_SECONDS
from shared.errors import Misconfigured, Unreachable


def require_redis(broker_url: str) -> None:
    """Return if a Redis answers there, and lets us in.

    Raises:
        Unreachable: None does.
        Misconfigured: The URL cannot be read.
    """
    try:
        client: Any = Redis.from_url(broker_url, socket_connect_timeout=CONNECT_TIMEOUT_SECONDS)  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs
        with client:
            client.ping()
    except RedisError as error:
        raise Unreachable(f"Redis cannot be used: {error}. Check CHECKPOINT_BROKER_URL.") from error
    except ValueError:
        # The message may repeat the password.
        raise Misconfigured(
            "CHECKPOINT_BROKER_URL is no address of a Redis; expected redis://user:password@host:port/0 or rediss://, "
            "with special characters as %XX."
        ) from None

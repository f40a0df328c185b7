"""The connection to Redis, and the name of every key behind the global prefix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, cast

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.settings import Settings

# Without them a command to a Redis that went away silently waits for ever.
SOCKET_TIMEOUT_SECONDS: Final = 5
CONNECT_TIMEOUT_SECONDS: Final = 2
HEALTH_CHECK_SECONDS: Final = 5
# A blocking command may wait on the server for this long; its answer has the usual time on top.
BLOCK_SECONDS_MAX: Final = 5

Command: TypeAlias = tuple[str | bytes | int, ...]


class _Pipeline(Protocol):
    def execute_command(self, *args: str | bytes | int) -> object: ...
    def execute(self, *, raise_on_error: bool) -> list[object]: ...
    def reset(self) -> None: ...


def connect(settings: Settings, *, blocking: bool = False) -> Redis:
    """Return a client for bytes that never repeats a packet by itself.

    Connects when first used, and again after a lost connection. May be shared between threads.

    Args:
        settings: Which Redis.
        blocking: For commands that wait on the server, at most `BLOCK_SECONDS_MAX`.

    Raises:
        ValueError: The URL is no Redis URL.
    """
    return Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs
        settings.broker_url.get_secret_value(),
        decode_responses=False,
        socket_timeout=SOCKET_TIMEOUT_SECONDS + (BLOCK_SECONDS_MAX if blocking else 0),
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=HEALTH_CHECK_SECONDS,
        # redis-py repeats a packet 10 times, pipelines too. A drain's packet begins with the DEL that
        # acknowledges the last batch: repeated, it drops what the lost answer had just moved.
        retry=Retry(NoBackoff(), 0),
    )


def round_trip(client: Redis, commands: Sequence[Command]) -> list[object]:
    """Send commands in one packet, without MULTI, and return what each was answered, also an error.

    Raises:
        ConnectionError: The connection was lost; some commands may have been carried out.
        TimeoutError: The same.
    """
    pipeline = cast("_Pipeline", client.pipeline(transaction=False))  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped shard_hint
    try:
        for command in commands:
            pipeline.execute_command(*command)
        # With raise_on_error only the first error would be known, and not which commands were done.
        return pipeline.execute(raise_on_error=False)
    finally:
        pipeline.reset()


def run(client: Redis, *commands: Command) -> list[object]:
    """Send commands in one packet and return their answers.

    Raises:
        RedisError: The first error; the commands behind it were carried out all the same.
    """
    answers = round_trip(client, commands)
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of our Redis keys, each behind the global prefix.

    Args:
        prefix: `Settings.key_prefix`; kombu puts the same one before its own keys.
    """

    prefix: str

    def queue(self, name: str) -> str:
        """Return the list that is a queue. Its left end is its back."""
        return self.prefix + name

    def token(self, run_id: str) -> str:
        """Return the revocation token of a run. Source: the contract, section 4."""
        return f"{self.prefix}checkpoint:revoked:{run_id}"

    @property
    def held(self) -> str:
        """Return the hash of task id to held message: the key of its queue, NUL, the message."""
        return f"{self.prefix}checkpoint:held"

    @property
    def held_due(self) -> str:
        """Return the sorted set of task id by the moment it is due, in milliseconds of Unix time."""
        return f"{self.prefix}checkpoint:held_due"

    @property
    def rejected(self) -> str:
        """Return the list of messages set aside, newest first, until the sweeper takes them to Postgres."""
        return f"{self.prefix}checkpoint:rejected"

    @property
    def room(self) -> str:
        """Return what a sweeper writes to see whether Redis takes messages."""
        return f"{self.prefix}checkpoint:room"

    def drains(self, queue: str) -> str:
        """Return the sorted set of the lists of `taken` by the moment their drain's lease is over, in milliseconds."""
        return f"{self.prefix}checkpoint:drains:{queue}"

    def taken(self, queue: str, worker: str) -> str:
        """Return the list of what a worker has taken from a queue and not acknowledged."""
        return f"{self.prefix}checkpoint:taken:{queue}:{worker}"

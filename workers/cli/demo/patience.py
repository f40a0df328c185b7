"""Calls of the contract that are repeated until both servers answer: each of them may be."""

from collections.abc import Callable
from typing import Final, TypeVar

from redis import RedisError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from shared.db.moment import is_of_the_moment
from shared.errors import DeferredCheckpointError

T = TypeVar("T")
PAUSE_SECONDS: Final = 0.2
LIMIT_SECONDS: Final = 60.0


class Away(DeferredCheckpointError):
    """Postgres or Redis did not answer for long."""

    code = "unreachable"


def until_answered(call: Callable[[], T], *, seconds: float = LIMIT_SECONDS) -> T:
    """Return what a call answers; if a server is away for the moment, call again.

    Raises:
        Away: It was away for `seconds`.
    """
    try:
        return Retrying(
            retry=retry_if_exception(_is_away),
            wait=wait_fixed(PAUSE_SECONDS),
            stop=stop_after_delay(seconds),
            reraise=True,
        )(call)
    except Exception as error:
        if not _is_away(error):
            raise
        raise Away(f"Postgres or Redis did not answer for {seconds:g} s: {str(error).strip()}") from error


def _is_away(error: BaseException) -> bool:
    return isinstance(error, RedisError) or is_of_the_moment(error)

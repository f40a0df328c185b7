"""Waiting inside a process for a server that is away for the moment: the same again, until it answers."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from shared.db.moment import is_of_the_moment
from shared.pulse import Pulse, of_this_loop

T = TypeVar("T")
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 2.0

log = structlog.get_logger(__name__)


def patiently(work: Callable[[], T], *, what: str, wake: Event | None = None) -> T:
    """Return what `work` returns; errors of the moment are waited out, all others are raised.

    Only for work that may be repeated: a transaction whose outcome is read before it is tried again.

    Args:
        work: Is called until it answers.
        what: For the log: what cannot be done just now.
        wake: Set it to have the next try at once.
    """
    # The loop whose turn this is waits with us; elsewhere only the log has to know.
    pulse = of_this_loop.get() or Pulse(what, limit_seconds=LONGEST_SECONDS)
    began = time.monotonic()

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if pulse.waits(error or Exception()) is not None:
            log.warning("postgres.waiting", what=what, error=str(error))

    retrying = Retrying(
        retry=retry_if_exception(is_of_the_moment),
        wait=wait_exponential_jitter(multiplier=FIRST_SECONDS, max=LONGEST_SECONDS, jitter=FIRST_SECONDS),
        sleep=_sleep_until(wake or Event()),
        before_sleep=report,
        reraise=True,
    )
    result = retrying(work)
    if retrying.statistics["attempt_number"] > 1:
        log.info("postgres.back", what=what, seconds=round(time.monotonic() - began, 1))
    return result


def _sleep_until(wake: Event) -> Callable[[float], None]:
    """Return a sleep that ends when the event is set, once: tenacity's own would never sleep again after it."""

    def sleep(seconds: float) -> None:
        if wake.wait(seconds):
            wake.clear()

    return sleep

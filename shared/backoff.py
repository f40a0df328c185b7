"""Equal-jitter exponential back-off (pure)."""

from datetime import timedelta
from random import Random

FACTOR = 3


def step(attempt: int, *, base: timedelta, limit: timedelta) -> timedelta:
    """Return the nominal step after `attempt` failed tries (from 1): base, then three times as long each.

    Raises:
        ValueError: The attempt is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt is {attempt}; expected 1 or more")
    nominal = base
    for _ in range(attempt - 1):
        nominal *= FACTOR
        if nominal >= limit:  # before the power grows beyond what a timedelta can hold
            break
    return min(limit, nominal)


def retry_delay(
    attempt: int, *, base: timedelta, limit: timedelta, total: timedelta, random: Random
) -> timedelta | None:
    """Return how long to wait before another try; None: the steps so far used up the total.

    Equal jitter: half of the step is fixed, half is random, so that tries spread out and none comes at once.

    Args:
        attempt: Number of tries that failed, from 1.
        base: The first step.
        limit: No step is longer.
        total: The nominal steps in all.
        random: The source of jitter.

    Raises:
        ValueError: The attempt is below 1.

    Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """
    used = sum((step(n, base=base, limit=limit) for n in range(1, attempt + 1)), timedelta(0))
    if used > total:
        return None
    nominal = step(attempt, base=base, limit=limit)
    return nominal / 2 + nominal / 2 * random.random()

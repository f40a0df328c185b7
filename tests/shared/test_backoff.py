"""Equal-jitter back-off: its bounds whatever the settings, and the windows of the reference."""

from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import FACTOR, retry_delay, step
from shared.settings import Settings

SECOND: Final = timedelta(seconds=1)
DURATIONS: Final = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=10))
TRIES_MAX: Final = 200


class Chance(Random):
    """Chance that always says the same."""

    def __init__(self, says: float) -> None:
        super().__init__()
        self._says = says

    def random(self) -> float:
        """Return the same each time."""
        return self._says


def defaults(random: Random) -> dict[str, Any]:
    """Return the settings' back-off."""
    settings = Settings()
    names = {"base": settings.retry_base_ms, "limit": settings.retry_max_ms, "total": settings.retry_total_ms}
    return {name: timedelta(milliseconds=value) for name, value in names.items()} | {"random": random}


@given(attempt=st.integers(1, TRIES_MAX), base=DURATIONS, limit=DURATIONS, total=DURATIONS, seed=st.integers())
def test_a_delay_is_between_half_of_its_step_and_the_whole(
    attempt: int, base: timedelta, limit: timedelta, total: timedelta, seed: int
) -> None:
    """No try comes at once, and none later than its step."""
    delay = retry_delay(attempt, base=base, limit=limit, total=total, random=Random(seed))
    nominal = step(attempt, base=base, limit=limit)

    assert delay is None or nominal / 2 <= delay <= nominal <= limit


@given(attempt=st.integers(1, TRIES_MAX), base=DURATIONS, limit=DURATIONS)
def test_steps_grow_by_the_factor_up_to_the_limit(attempt: int, base: timedelta, limit: timedelta) -> None:
    """Each is three times the one before, or the limit."""
    now, following = (step(n, base=base, limit=limit) for n in (attempt, attempt + 1))

    assert following == min(limit, now * FACTOR)


@given(base=DURATIONS, limit=DURATIONS, total=DURATIONS)
def test_nominal_steps_never_pass_the_total(base: timedelta, limit: timedelta, total: timedelta) -> None:
    """After the last delay there is none, and the steps until then fit into the total."""
    used = timedelta(0)
    for attempt in range(1, TRIES_MAX):
        nominal = step(attempt, base=base, limit=limit)
        delay = retry_delay(attempt, base=base, limit=limit, total=total, random=Random(0))
        used += nominal
        assert (delay is None) == (used > total)
        if delay is None:
            return


@pytest.mark.parametrize("attempt", [0, -1])
def test_tries_are_counted_from_one(attempt: int) -> None:
    """A delay before the first failure is a bug of the caller's."""
    with pytest.raises(ValueError, match="expected 1 or more"):
        retry_delay(attempt, base=SECOND, limit=SECOND, total=SECOND, random=Random(0))


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [
        (1, 1.5, 3),
        (2, 4.5, 9),
        (3, 13.5, 27),
        (4, 40.5, 81),
        (8, 3_280.5, 6_561),
        (9, 5_400, 10_800),
        (20, 5_400, 10_800),
    ],
)
def test_the_windows_of_the_reference(attempt: int, least: float, most: float) -> None:
    """With the defaults: 1.5 to 3 s after the first failure, then three times as long, at most 3 h."""
    delays = [retry_delay(attempt, **defaults(Chance(says))) for says in (0.0, 1.0)]

    assert delays == [least * SECOND, most * SECOND]


def test_a_checkpoint_is_given_up_within_48_hours() -> None:
    """With the defaults there are 24 tries, and 24 to 48 hours of waiting."""
    late = [retry_delay(attempt, **defaults(Chance(1.0))) for attempt in range(1, 25)]
    waited = [delay for delay in late if delay is not None]

    assert late[-1] is None
    assert len(waited) == 23
    assert timedelta(hours=45) < sum(waited, timedelta(0)) <= timedelta(hours=48)

"""Back-off: three times as long after each failed try, half of it by chance, up to a step and a total."""

from datetime import timedelta
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import retry_delay, step
from shared.settings import Settings

# The defaults' windows in seconds, by the number of tries that failed.
WINDOWS: Final = [
    (1, 1.5, 3),
    (2, 4.5, 9),
    (3, 13.5, 27),
    (4, 40.5, 81),
    (5, 121.5, 243),
    (6, 364.5, 729),
    (7, 1_093.5, 2_187),
    (8, 3_280.5, 6_561),
    *((failed, 5_400, 10_800) for failed in range(9, 24)),
]
MOMENTS = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=2))


class Chance(Random):
    """Chance that always has the same outcome.

    Args:
        outcome: From 0 to 1, without 1.
    """

    def __init__(self, outcome: float) -> None:
        super().__init__(0)
        self._outcome = outcome

    def random(self) -> float:
        """Return that outcome."""
        return self._outcome


def delay(failed: int, outcome: float) -> timedelta | None:
    """Return the delay of the default settings."""
    settings = Settings()
    return retry_delay(
        failed,
        base=timedelta(milliseconds=settings.retry_base_ms),
        limit=timedelta(milliseconds=settings.retry_max_ms),
        total=timedelta(milliseconds=settings.retry_total_ms),
        random=Chance(outcome),
    )


@pytest.mark.parametrize(("failed", "shortest", "longest"), WINDOWS)
def test_a_delay_lies_between_half_its_step_and_all_of_it(failed: int, shortest: float, longest: float) -> None:
    """Three seconds at first, three times as long each, at most three hours."""
    assert delay(failed, 0) == timedelta(seconds=shortest)
    assert delay(failed, 0.5) == timedelta(seconds=(shortest + longest) / 2)
    last = delay(failed, 1 - 2**-40)
    assert last is not None
    assert timedelta(0) <= timedelta(seconds=longest) - last < timedelta(milliseconds=1)


def test_no_try_is_left_when_the_steps_would_be_longer_than_two_days() -> None:
    """Steps count whole, whatever chance made of them: 24 tries in all, the last within 48 hours of steps."""
    steps = sum(longest for _, _, longest in WINDOWS)
    assert steps <= timedelta(hours=48).total_seconds() < steps + WINDOWS[-1][2]

    for outcome in (0, 0.999):
        assert delay(len(WINDOWS), outcome) is not None
        assert [delay(failed, outcome) for failed in (len(WINDOWS) + 1, len(WINDOWS) + 2, 10_000)] == [None] * 3


@given(failed=st.integers(1, 60), base=MOMENTS, limit=MOMENTS, total=MOMENTS, outcome=st.floats(0, 1, exclude_max=True))
def test_whatever_the_settings_a_delay_fits_its_step_and_the_total(
    failed: int, base: timedelta, limit: timedelta, total: timedelta, outcome: float
) -> None:
    """Never longer than the limit, never shorter than half of it; once none is left, none is left later."""
    nominal = step(failed, base=base, limit=limit)
    given_ = retry_delay(failed, base=base, limit=limit, total=total, random=Chance(outcome))
    used = sum((step(number, base=base, limit=limit) for number in range(1, failed + 1)), timedelta(0))

    assert (given_ is None) is (used > total)
    if given_ is not None:
        assert nominal / 2 <= given_ <= nominal <= min(limit, total)
        assert failed == 1 or step(failed - 1, base=base, limit=limit) <= nominal


@pytest.mark.parametrize("failed", [0, -1])
def test_before_a_try_has_failed_there_is_no_delay(failed: int) -> None:
    """The first try is at once; asking for its delay is a mistake."""
    with pytest.raises(ValueError, match="expected 1 or more"):
        step(failed, base=timedelta(1), limit=timedelta(1))

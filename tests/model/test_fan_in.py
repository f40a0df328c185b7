"""A batch resumes its run once, whatever the order of its completions."""

import pytest

from .fan_in import Way, outcomes


@pytest.mark.parametrize("items", [(1, 2), (1, 2, 1)])
def test_the_counter_that_only_a_first_completion_moves_resumes_once(items: tuple[int, ...]) -> None:
    """Two items, also with one of them completed twice: in every order the last one resumes, and only that."""
    assert set(outcomes(Way.GUARDED, items)) == {"once"}


def test_counting_what_is_left_may_resume_nobody() -> None:
    """Both transactions see the other's item open: why the batch has a counter."""
    assert outcomes(Way.COUNT, (1, 2))["never"] > 0


def test_a_counter_without_a_guard_may_resume_early() -> None:
    """A completion that comes twice counts twice: why only a first one counts."""
    assert outcomes(Way.COUNTER, (1, 2))["never"] == 0
    assert outcomes(Way.COUNTER, (1, 2, 1))["early"] > 0

"""docs/vectors.md names every scenario and feature once, and only tests that are there."""

import pytest
from ticked_off import TickedOff

PAGE = TickedOff("vectors.md", folder="tests/vectors")


@pytest.mark.parametrize(("heading", "last"), [("Scenarios", 50), ("Features", 57)])
def test_every_number_has_one_row(heading: str, last: int) -> None:
    """None is left out, none is told twice."""
    assert PAGE.numbers(heading) == list(range(1, last + 1))


def test_every_test_that_is_named_is_there() -> None:
    """A test that is renamed or removed is not ticked off any more."""
    assert PAGE.missing() == []

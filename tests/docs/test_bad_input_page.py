"""docs/bad-input.md has a row for every bad input, with a test that is there and codes that can be given."""

import re

from refusable import refusable
from ticked_off import TickedOff, names_something

from shared.vocabulary import Unreached

PAGE = TickedOff("bad-input.md", folder="tests/doors")
LAST = 63


def test_every_number_has_one_row() -> None:
    """Shown, or named as not shown: none is left out, none is told twice."""
    assert sorted(PAGE.numbers("Shown") + PAGE.numbers("Not shown here")) == list(range(1, LAST + 1))


def test_every_row_names_what_shows_it() -> None:
    """No row is only a promise."""
    assert [numbers for numbers, said in PAGE.rows("Shown") if not names_something(said)] == []


def test_every_test_that_is_named_is_there() -> None:
    """A test that is renamed or removed shows nothing any more."""
    assert PAGE.missing() == []


def test_every_code_is_one_of_the_contracts() -> None:
    """What an input gets stands in the second column of a row's text."""
    told = {code for _, said in PAGE.rows("Shown") for code in re.findall(r"`([a-z-]+)`", said.split(" | ")[1])}

    assert told
    assert told <= {*refusable(), *Unreached}

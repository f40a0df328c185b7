"""docs/vectors.md names every scenario and feature once, and only tests that are there."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = (ROOT / "docs" / "vectors.md").read_text()
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@pytest.mark.parametrize(("heading", "last"), [("Scenarios", 50), ("Features", 57)])
def test_every_number_has_one_row(heading: str, last: int) -> None:
    """None is left out, none is told twice."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (\d[\d, to]*) \|", section, flags=re.MULTILINE)
    assert [number for cell in cells for number in _numbers(cell)] == list(range(1, last + 1))


def test_every_test_that_is_named_is_there() -> None:
    """A test that is renamed or removed is not ticked off any more."""
    named = NAMED.findall(PAGE)
    assert len(named) > 1
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in _text(path)]
    assert missing == []


def _numbers(cell: str) -> list[int]:
    first, _, last = cell.partition(" to ")
    return list(range(int(first), int(last) + 1)) if last else [int(one) for one in cell.split(", ")]


def _text(path: str) -> str:
    file = ROOT / path if "/" in path else HERE / path
    return file.read_text() if file.exists() else ""

"""Pages of `docs/` that tick numbers off: each has one row, and what a row names is there."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
_ROW: Final = re.compile(r"^\| (\d[\d, to]*) \|(.*)\|$", flags=re.MULTILINE)
_NAMED: Final = re.compile(r"`([\w/]+\.py)::(\w+)`")


class TickedOff:
    """A page with tables whose first column is numbers.

    Args:
        name: Of the page's file.
        folder: Where the files are that it names without a folder.
    """

    def __init__(self, name: str, *, folder: str) -> None:
        self.text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        self._folder = ROOT / folder

    def rows(self, heading: str) -> list[tuple[list[int], str]]:
        """Return the rows below a heading: the numbers of each, and what it says of them."""
        section = self.text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        return [(_numbers(cell), said) for cell, said in _ROW.findall(section)]

    def numbers(self, heading: str) -> list[int]:
        """Return the numbers below a heading, in their order."""
        return [number for numbers, _ in self.rows(heading) for number in numbers]

    def missing(self) -> list[str]:
        """Return the tests and tables that the page names and that are not there."""
        named = _NAMED.findall(self.text)
        assert len(named) > 1
        return [f"{path}::{name}" for path, name in named if not self._has(path, name)]

    def _has(self, path: str, name: str) -> bool:
        file = ROOT / path if "/" in path else self._folder / path
        return (
            file.exists() and re.search(rf"^(def {name}\(|{name}\b.* = )", file.read_text(), re.MULTILINE) is not None
        )


def names_something(said: str) -> bool:
    """Return whether a row names a test or a table."""
    return _NAMED.search(said) is not None


def _numbers(cell: str) -> list[int]:
    numbers: list[int] = []
    for part in cell.split(", "):
        first, _, last = part.partition(" to ")
        numbers += range(int(first), int(last or first) + 1)
    return numbers

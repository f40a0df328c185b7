"""docs/engines.md names every engine, every error that no other try mends, and what each size of a run costs."""

import re
from pathlib import Path
from typing import Final

from shared.vocabulary import EngineName
from workers.engines.criu import GHOST_LIMIT, HOPELESS

PAGE: Final = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
MEASURED: Final = {EngineName.PROCESS, EngineName.DOCKER, EngineName.CRI}
SIZES: Final = {"0", "10 MB", "200 MB", "1000 MB"}
RATIOS: Final = 2


def test_every_engine_has_its_row_and_its_section() -> None:
    """In the order of the vocabulary."""
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)[: len(EngineName)] == list(EngineName)
    assert [heading for heading in re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) if heading in [*EngineName]] == [
        *EngineName
    ]


def test_what_no_other_try_mends_is_told_with_what_to_do() -> None:
    """By criu's own words, which an operator will search for."""
    assert [words for words in HOPELESS if words not in PAGE and words.partition(" ")[2] not in PAGE] == []
    assert f"{GHOST_LIMIT.removesuffix('M')} MB" in PAGE


def test_each_size_was_measured() -> None:
    """With the time of each phase, and how many times the bare tool's that is."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.partition("## What it costs")[2].splitlines() if "|" in line]
    head, cells = rows[0], [row for row in rows[2:] if row[0] in [*EngineName]]

    assert {"freeze", "dump", "store", "restore", "permit", "MB dumped", "MB stored"} <= set(head)
    assert {(row[0], row[1].partition(",")[0]) for row in cells} == {(it, size) for it in MEASURED for size in SIZES}
    assert all(len(row) == len(head) and all(float(cell) >= 0 for cell in row[2:]) for row in cells)
    assert [name for name in head if name.endswith("ratio")] == head[-RATIOS:]

"""What ARCHITECTURE.md says of the state machine is what Postgres holds."""

import re
from pathlib import Path

import psycopg

PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def test_the_pages_moves_are_those_of_the_table(database_url: str) -> None:
    """A move that was added, or taken out, is added or taken out in the page by the same change."""
    block = PAGE.read_text(encoding="utf-8").partition("<!-- moves")[2].partition("<!-- end of moves -->")[0]
    shown = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \|$", block, flags=re.MULTILINE)[1:]

    with psycopg.connect(database_url) as conn:
        held = conn.execute("SELECT from_status, to_status, event FROM checkpoint_move ORDER BY 1, 2").fetchall()

    assert shown == held


def test_the_pages_folders_exist() -> None:
    """The codemap names no file or folder that is gone."""
    named = re.findall(r"`((?:shared|workers|tests)/[\w/.]+)`", PAGE.read_text(encoding="utf-8"))

    assert [name for name in named if not (PAGE.parent / name).exists()] == []

"""What docs/operations.md says of settings, states and commands is what this release has."""

import re
from pathlib import Path
from typing import Final

from typer.main import get_command

from shared.db.runs import STATES
from workers.cli.main import app
from workers.cli.settings_table import markdown

PAGE: Final = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def between(name: str) -> str:
    """Return what stands between two marks of the page."""
    return PAGE.partition(f"<!-- {name}: ")[2].partition(f"<!-- end of {name} -->")[0].partition("-->\n")[2].strip()


def test_the_pages_settings_are_those_of_the_code() -> None:
    """`checkpoints settings --markdown` makes the table."""
    assert between("settings") == markdown()


def test_the_pages_states_are_those_of_runs() -> None:
    """Each with its meaning."""
    assert re.findall(r"^\| (\w+) \| (.+) \|$", between("states"), re.MULTILINE)[1:] == list(STATES.items())


def test_the_page_names_every_command_and_option() -> None:
    """A command that is new, or gone, changes the page too."""
    listed = set(re.findall(r"^\| `checkpoints ([a-z]+(?: [a-z]+)*)", PAGE, re.MULTILINE))

    assert listed == set(names(get_command(app)))


def names(command: object, before: str = "") -> list[str]:
    """Return the names of all commands below one."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return [before]
    return [name for one in inner for name in names(inner[one], f"{before} {one}".strip())]

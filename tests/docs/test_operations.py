"""What docs/operations.md says of settings, states, commands, events and health is what this release has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from typer.main import get_command

from shared.db.runs import STATES
from workers.cli.main import app
from workers.cli.settings_table import markdown
from workers.shown import Word

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


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


def table(name: str) -> list[list[str]]:
    """Return the rows of a marked table, without its head."""
    rows = [line.strip("| ").split(" | ") for line in between(name).splitlines() if line.startswith("|")]
    return rows[2:]


def logged(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each event that a module logs, with its level."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[first, *_]):
                assert isinstance(first, ast.Constant), f"{path}:{node.lineno}: an event is a literal"
                yield str(first.value), level
            case ast.Call(func=ast.Attribute(attr="line_of"), args=[ast.Constant(value=event), *_]):
                yield str(event), "info"
            case _:
                pass


def test_the_pages_events_are_those_that_are_logged() -> None:
    """Each with its levels; a new line of a log comes with what it means to whoever reads it."""
    found: dict[str, set[str]] = {}
    for path in [*ROOT.glob("shared/**/*.py"), *ROOT.glob("workers/**/*.py")]:
        for event, level in logged(path):
            found.setdefault(event, set()).add(level)
    listed = {event.strip("`"): set(levels.split(", ")) for event, levels, _ in table("events")}

    assert listed == found
    assert [event for event in found if not re.fullmatch(r"[a-z_]+\.[a-z-]+", event)] == []


def test_the_pages_words_are_those_that_flower_shows() -> None:
    """Every state that a message can end in, those of Celery by Celery's name."""
    celerys = {Word.SENT: "PENDING", Word.RETRIED: "RETRY", Word.FAILED: "FAILURE"}

    assert {state.strip("`") for state, *_ in table("words")} == {celerys.get(word, word.upper()) for word in Word}

"""How commands print: a table for people, tabs for other programs, `--json` with one object a line."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])")


def print_json(objects: Iterable[Any]) -> None:
    """Print one object a line; their fields stay as they are named from release to release."""
    for one in objects:
        typer.echo(msgspec.json.encode(one).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows: a table on a terminal, else one line a row with tabs between and the columns' names above."""
    shown = [[printable(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        typer.echo("\n".join("\t".join(row) for row in [list(columns), *shown]))
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        # Folded, never cut: whoever copies an id needs the whole of it.
        table.add_column(column, overflow="fold")
    for row in shown:
        table.add_row(*map(Text, row))
    Console().print(table)


def printable(value: object) -> str:
    """Return a value in one line, without what a terminal would act upon."""
    match value:
        case None:
            return ""
        case datetime():
            return moment(value)
        case Mapping():
            return _escaped(msgspec.json.encode(value).decode())
        case _:
            return _escaped(str(value))


def moment(at: datetime) -> str:
    """Return a moment in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def distance(at: datetime, now: datetime) -> str:
    """Return how far a moment lies behind or ahead, in its largest unit."""
    seconds = (at - now).total_seconds()
    for unit in ("d", "h", "m"):
        if abs(seconds) >= _UNITS[unit]:
            text = f"{abs(seconds) / _UNITS[unit]:.1f}{unit}"
            break
    else:
        text = f"{abs(seconds):.1f}s"
    return f"in {text}" if seconds > 0 else f"{text} ago"


def duration(text: str) -> timedelta:
    """Read a duration such as 30s, 5m, 2h or 7d.

    Raises:
        typer.BadParameter: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; expected a whole number and s, m, h or d, such as 30s.")
    return timedelta(seconds=int(match["count"]) * _UNITS[match["unit"]])


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)

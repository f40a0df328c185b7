"""`checkpoints doctor`: does everything here fit together, and what is to be done where it does not."""

import sys
from typing import Final

import msgspec
import typer

from shared.errors import Misconfigured
from workers.cli.doctor.engines import engine_lines
from workers.cli.doctor.line import Line, Verdict, checked
from workers.cli.doctor.node import lock_folder
from workers.cli.doctor.postgres import postgres_lines
from workers.cli.doctor.redis import redis_lines
from workers.cli.doctor.versions import versions
from workers.cli.printing import print_json, printable
from workers.cli.target import target_settings

_COLOURS: Final = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "red"}


def examine(*, as_json: bool) -> bool:
    """Print a line for each thing looked at; return whether none failed."""
    lines = _lines()
    if as_json:
        print_json(msgspec.to_builtins(lines))
    else:
        for line in lines:
            _print(line)
    return all(line.verdict is not Verdict.FAIL for line in lines)


def _lines() -> list[Line]:
    try:
        settings = target_settings()
    except Misconfigured as error:
        return [Line("settings", Verdict.FAIL, error.message, "Correct them; `checkpoints settings` explains each.")]
    lines = [Line("settings", Verdict.OK, "understood"), *checked("versions", versions)]
    lines += checked("postgres", lambda: postgres_lines(settings))
    lines += checked("redis", lambda: redis_lines(settings))
    lines += checked("lock folder", lambda: [lock_folder(settings)])
    return lines + checked("engines", lambda: engine_lines(settings))


def _print(line: Line) -> None:
    verdict = f"{line.verdict:<4}"
    if sys.stdout.isatty():
        verdict = typer.style(verdict, fg=_COLOURS[line.verdict])
    typer.echo(f"{verdict}  {line.about}: {printable(line.found)}")
    if line.to_do:
        typer.echo(f"      {line.to_do}")

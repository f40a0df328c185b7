"""What a demo shows while it runs: a table on a terminal, a line now and then elsewhere."""

import time
from collections import Counter
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from shared.db.demo import Waits
from shared.telemetry import logs
from workers.cli.demo.memory import megabytes

LINE_SECONDS: Final = 2.0


class View:
    """The live view. Leave the block before anything else is printed.

    Args:
        console: Where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        is_alive = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, transient=True) if is_alive else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        # Behind it: the table moves down for what is written to standard error, such as a server that is away.
        logs.set_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, states: Counter[str], waits: Waits, *, held_bytes: int) -> None:
        """Show how things stand, and how much memory the runs that wait hold."""
        runs, rows = _runs(states) | {"MB held waiting": megabytes(held_bytes)}, _waits(waits)
        if self._live:
            self._live.update(_table(runs, rows), refresh=True)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            self._console.print(f"runs: {_words(runs)} | waits: {_words(rows)}", highlight=False, soft_wrap=True)


def _runs(states: Counter[str]) -> dict[str, int]:
    return {name: states[name] for name in ("not started", "working", "waiting", "ended")}


def _waits(waits: Waits) -> dict[str, int]:
    return {
        "pending": waits.pending,
        "called off": waits.called_off,
        "frozen now": waits.frozen_now,
        "restored": waits.restored,
        "refused": waits.refused,
    }


def _words(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def _table(runs: dict[str, int], waits: dict[str, int]) -> Table:
    table = Table(title="a platform in miniature", title_justify="left")
    for heading in ("runs", "waits"):
        table.add_column(heading, min_width=14)
        table.add_column(justify="right", min_width=6)
    left, right = list(runs.items()), list(waits.items())
    for row in range(max(len(left), len(right))):
        cells = [(name, str(number)) for side in (left, right) for name, number in (side[row : row + 1] or [("", "")])]
        table.add_row(*cells[0], *cells[1])
    return table

"""What the benchmark asks of each engine: a run that it can freeze, and the bare tool below it, by hand."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.engines import holding
from shared.messages import Workload
from shared.settings import Settings
from tests.waiting import wait_until
from workers.engines.engine import Engine

READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Heap:
    """What a run holds: so many MB (a million bytes), `random` or `text`."""

    megabytes: int
    kind: str


class Run:
    """A run in whichever engine: what it is called, and whether it goes on.

    Args:
        folder: Where it writes.
        workload: What an upstream would say of it.
        end: Ends it, and whatever keeps it.
    """

    def __init__(self, folder: Path, workload: Workload, *, end: Callable[[Workload], None]) -> None:
        self.workload = workload
        self.folder = folder
        self._end = end

    def expect_ready(self) -> None:
        """Return once it holds its heap and runs."""
        wait_until((self.folder / holding.READY).exists, seconds=READY_SECONDS)
        self.expect_running()

    def expect_running(self) -> None:
        """Return once it has done more than until now."""
        before = self._ticks()
        wait_until(lambda: self._ticks() > before)

    def end(self) -> None:
        """End it, wherever it lives now."""
        self._end(self.workload)

    def _ticks(self) -> int:
        path = self.folder / holding.TICKS
        return path.stat().st_size if path.exists() else 0


class Subject(Protocol):
    """One engine under the benchmark.

    Attributes:
        engine: As the product has it.
        tool: The bare tool's name.
        transfers: Methods, as class and name, that store an image, fetch one, or remove the files in between: work that
            the bare tool does not do.
    """

    engine: Engine
    tool: str
    transfers: tuple[tuple[type, str], ...]

    def start(self, folder: Path, heap: Heap) -> Run:
        """Start a run in an empty folder."""
        ...

    def dump(self, run: Run, into: Path) -> None:
        """Dump a run with the bare tool and give its memory back, as somebody would by hand."""
        ...

    def carry(self, run: Run, dump: Path) -> None:
        """Do what the bare tool needs between the two, which the engine's store and fetch do; it is not measured."""
        ...

    def restore(self, run: Run, dump: Path) -> None:
        """Bring it back from there with the bare tool; it runs then."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that may be measured.

    Attributes:
        name: The engine's.
        why_not: Returns why it cannot be on this machine; None: it can.
        open: Makes it ready, with what it needs in a folder.
    """

    name: str
    why_not: Callable[[], str | None]
    open: Callable[[Path, Settings], AbstractContextManager[Subject]]

"""How much memory the runs of a demo hold: before each of their freezes, and while that lasted."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.cli.demo.ledger import WaitId
from workers.engines import processes
from workers.engines.processes import Process


@dataclass(frozen=True, slots=True)
class Held:
    """Resident memory of all runs that were frozen, summed over their freezes, in bytes."""

    before_bytes: int = 0
    frozen_bytes: int = 0


def resident(process: Process) -> int:
    """Return the bytes of memory that a process holds now, its share of what it shares with others; 0: it is gone."""
    try:
        text = (processes.PROC / str(process.pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    kilobytes = next((line.split()[1] for line in text.splitlines() if line.startswith("Pss:")), "0")
    return 1024 * int(kilobytes) if processes.exists(process) else 0


def megabytes(size: int) -> int:
    """Return bytes as whole megabytes."""
    return round(size / 1e6)


class Memory:
    """What was measured of each wait.

    Args:
        measure: How much a process holds.
    """

    def __init__(self, measure: Callable[[Process], int] = resident) -> None:
        self._measure = measure
        self._before: dict[WaitId, int] = {}
        self._least: dict[WaitId, int] = {}
        self._frozen: set[WaitId] = set()

    def waits(self, wait: WaitId, process: Process) -> None:
        """Measure a run that begins to wait: it does nothing more before it is frozen."""
        self._before[wait] = self._least[wait] = self._measure(process)

    def look(self, wait: WaitId, process: Process) -> int:
        """Measure a run that waits, and return what it holds. A freeze between two looks counts as none."""
        now = self._measure(process)
        self._least[wait] = min(now, self._least.get(wait, now))
        return now

    def came_back(self, wait: WaitId) -> None:
        """Take note that a run had been frozen."""
        self._frozen.add(wait)

    def held(self) -> Held:
        """Return the sums over all waits of runs that had been frozen."""
        return Held(sum(self._before[it] for it in self._frozen), sum(self._least[it] for it in self._frozen))

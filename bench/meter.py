"""What a piece of work costs: wall time, and CPU of every process that takes part."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and of CPU by who spent it."""

    wall_seconds: float
    cpu_seconds: dict[str, float]

    @property
    def cpu_total(self) -> float:
        """CPU seconds of all."""
        return sum(self.cpu_seconds.values())


def measure(work: Callable[[], None], **roots: int) -> Cost:
    """Do the work, and return what it cost this process and the process trees under the named roots."""
    before = {name: _cpu_of_tree(pid) for name, pid in roots.items()}
    own, started = time.process_time(), time.perf_counter()
    work()
    wall = time.perf_counter() - started
    spent = {"client": time.process_time() - own}
    return Cost(wall, spent | {name: _cpu_of_tree(pid) - before[name] for name, pid in roots.items()})


def _cpu_of_tree(root: int) -> float:
    """CPU seconds of a process, its living descendants, and those of them that have ended and were waited for."""
    stats = {pid: fields for pid in _pids() if (fields := _stat(pid))}
    members = {root}
    while True:
        more = {pid for pid, fields in stats.items() if int(fields[1]) in members and pid not in members}
        if not more:
            break
        members |= more
    return sum(sum(map(int, stats[pid][11:15])) for pid in members if pid in stats) / TICKS


def _pids() -> Iterable[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()

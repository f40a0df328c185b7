"""The benchmark's table, in Markdown."""

import os
import platform
from pathlib import Path

from bench.engines.rounds import Round, dump_ratio, median, restore_ratio
from bench.engines.subject import Heap

PHASES = ("freeze", "dump", "store", "kill", "fetch", "restore", "permit", "bare_dump", "bare_restore")
NAMES = ["engine", "heap", *PHASES, "MB dumped", "MB stored", "dump ratio", "restore ratio"]
HEAD = "\n".join(
    [f"| {' | '.join(name.replace('bare_', 'bare ') for name in NAMES)} |", "|---|---|" + "---:|" * (len(NAMES) - 2)]
)


def row(engine: str, heap: Heap, rounds: list[Round]) -> str:
    """Return the line of an engine and a heap: the medians of its rounds."""
    it = median(rounds)
    holds = f"{heap.megabytes} MB, {heap.kind}" if heap.megabytes else "0"
    cells = [engine, holds, *(f"{getattr(it, phase):.3f}" for phase in PHASES)]
    cells += [f"{it.dump_bytes / 1e6:.1f}", f"{it.image_bytes / 1e6:.1f}"]
    return f"| {' | '.join([*cells, f'{dump_ratio(it):.2f}', f'{restore_ratio(it):.2f}'])} |"


def caption(folder: Path) -> str:
    """Return on what was measured, and how."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"Seconds, medians; {os.cpu_count()} CPUs, {memory:.0f} GiB, Linux {platform.release()}, load "
        f"{os.getloadavg()[0]:.1f} at the start, dumps and images on {_file_system(folder)}."
    )


def _file_system(folder: Path) -> str:
    """Return the kind of file system that a folder is on."""
    found: dict[str, str] = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        found[place] = kind
    path = folder.resolve()
    while str(path) not in found:
        path = path.parent
    return found[str(path)]

"""The folders in which this node dumps and restores: one for each claim, with a record of who was restored there.

A worker may die at any moment of either. Whoever comes next holds the run's lock, and finds in the folders of this and
earlier claims what is left: what was restored there and stands was never permitted, unless Postgres says so.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from workers.engines import ending, processes, restoring
from workers.engines.processes import Process

RECORD, PID_FILE, DUMP = "restored.json", "pid", "dump"
# The interpreter itself: what a virtual environment puts before it takes half as long again to start.
LAUNCHER: Final = (os.path.realpath(sys.executable), "-I", "-S", restoring.__file__)


class _Restored(Struct, frozen=True):
    """The record that `restoring.py` writes."""

    pid: int
    started_at_ticks: int


@dataclass(frozen=True, slots=True)
class ClaimFolder:
    """The folder of one claim."""

    path: Path

    @property
    def dump(self) -> Path:
        """Where criu writes a dump, or reads one."""
        return self.path / DUMP

    @property
    def pid_file(self) -> Path:
        """Where criu writes the pid of what it restored."""
        return self.path / PID_FILE

    @property
    def launcher(self) -> list[str]:
        """The command that runs a restore and writes the record."""
        return [*LAUNCHER, str(self.path / RECORD), str(self.pid_file)]

    def make(self) -> None:
        """Begin with an empty folder, whatever a dead worker left in it."""
        self.remove()
        self.dump.mkdir(mode=0o700, parents=True)

    def remove(self) -> None:
        """Remove the folder; processes are not touched."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def remove_dump(self) -> None:
        """Remove what was restored from; the record stays."""
        shutil.rmtree(self.dump)

    def process(self) -> Process | None:
        """Return the process that was restored here, if it lives."""
        try:
            record = msgspec.json.decode((self.path / RECORD).read_bytes(), type=_Restored)
        except FileNotFoundError:
            return None
        process = Process(record.pid, record.started_at_ticks)
        return process if processes.is_alive(process) else None


def clear(folder: Path, names: list[str], *, keep: Process | None, seconds: float) -> None:
    """Remove the folders of some claims, and end what was restored in them but for one process.

    Raises:
        EngineUnavailable: A process did not end in time.
    """
    for name in names:
        claim = ClaimFolder(folder / name)
        process = claim.process()
        if process is not None and process != keep:
            ending.end_tree(process, seconds=seconds)
        # Last: as long as it is there, whoever comes after a worker that died here finds the process by it.
        claim.remove()

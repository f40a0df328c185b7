"""Runs of tests: real processes, marked as workloads, whose standing and running is read from /proc."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from waiting import wait_until

from shared.messages import Workload

# Counts, so that it has something to do, and can be seen to go on; one line for each number.
PROGRAM = """
import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number = 0
while True:
    number += 1
    os.write(out, b"%d\\n" % number)
    time.sleep(0.002)
"""


class WaitingRun(Protocol):
    """What an upstream knows of any run."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def workload(self) -> Workload:
        """Where it lives."""
        ...


class Run:
    """One run: an id, and the process in which its attempt lives.

    Args:
        folder: For its file.
        node: The node's name in its workload.
    """

    def __init__(self, folder: Path, *, node: str) -> None:
        folder.mkdir(parents=True)
        self.id = f"run-{uuid4().hex}"
        self._counted = folder / "counted"
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", PROGRAM, str(self._counted)],
            env={"CHECKPOINT_WORKLOAD": "1", "PATH": os.defpath},
            start_new_session=True,
        )
        wait_until(lambda: self._counted.exists() and self.count() > 0)
        ticks = int(self._stat()[19])
        self.workload = Workload.from_json(
            {"engine": "simulate", "node": node, "pid": self._process.pid, "started_at_ticks": ticks}
        )

    def count(self) -> int:
        """Return how far it has counted."""
        return len(self._counted.read_bytes().splitlines())

    @property
    def stands(self) -> bool:
        """Whether the process is stopped."""
        return self._stat()[0] == "T"

    @property
    def runs(self) -> bool:
        """Whether the process runs or sleeps by itself."""
        return self._stat()[0] in {"R", "S", "D"}

    def goes_on(self) -> bool:
        """Wait until it has counted further than now."""
        before = self.count()
        return wait_until(lambda: self.count() > before)

    def end(self) -> None:
        """Kill it, standing or not."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _stat(self) -> list[str]:
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()

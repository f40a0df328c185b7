"""A run as a process that waits and goes on by itself; its own ledger says what it did, whatever databases say."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from waiting import wait_until

from shared.messages import Workload

# Reads the number of a wait that is over. One that it has passed is ignored, and answered again.
PROGRAM = """
import os, sys
ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(ledger, b"began 0\\n")
passed = 0
for line in iter(sys.stdin.buffer.readline, b""):
    number = int(line)
    os.write(ledger, b"%s %d\\n" % (b"went-on" if number > passed else b"again", number))
    passed = max(passed, number)
"""


class WaitingRun:
    """One run: an id, its process, its ledger.

    Args:
        ledger: The file that the process writes.
        node: The node's name in its workload.
    """

    def __init__(self, ledger: Path, *, node: str) -> None:
        self.id = f"run-{uuid4().hex[:12]}"
        self._ledger = ledger
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-I", "-c", PROGRAM, str(ledger)],
            stdin=subprocess.PIPE,
            env={"CHECKPOINT_WORKLOAD": "1", "PATH": os.defpath},
            start_new_session=True,
        )
        wait_until(lambda: ledger.exists() and ledger.stat().st_size > 0)
        self.workload = Workload.from_json(
            {"engine": "simulate", "node": node, "pid": self.pid, "started_at_ticks": int(self._stat()[19])}
        )

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def hear(self, number: int, *, workload: Any) -> None:
        """Give the process a continuation; it reads it when it runs."""
        del workload  # it never lives elsewhere
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % number)
        self._process.stdin.flush()

    def ledger(self) -> list[tuple[str, int]]:
        """Return what the process did: `went-on` or `again`, and the number of the wait."""
        # A line is whole: it is one write, and what is behind the last line end is not there yet.
        lines = self._ledger.read_text().splitlines()[1:]
        return [(word, int(number)) for word, _, number in (line.partition(" ") for line in lines)]

    @property
    def stands(self) -> bool:
        """Whether the process is stopped."""
        return self._stat()[0] == "T"

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it, standing or not."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _stat(self) -> list[str]:
        text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()

"""Processes that the platform of a demo starts: one that is a run, marked as a workload, or one that is a task."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO, Final, cast

from shared.messages import Workload
from shared.vocabulary import EngineName
from workers.engines import processes
from workers.engines.processes import Process

_HERE: Final = Path(__file__).parent
_READ_BYTES: Final = 65_536
_END_SECONDS: Final = 10.0


class Started:
    """A real process that says lines and hears lines.

    It has a process group of its own. If the platform dies, it reads the end of its input; if it stands then, the
    kernel wakes and ends it: SIGHUP and SIGCONT go to a group that lost its last tie to its session.

    Args:
        program: The file of this folder that it runs.
        arguments: Of the program.
        is_workload: Whether engines may touch it.
        errors: The file where its standard error goes.
    """

    def __init__(self, program: str, *arguments: str, is_workload: bool, errors: Path) -> None:
        with errors.open("ab") as error_file:
            self._process = subprocess.Popen(
                # Isolated: no module of this folder is mistaken for one of the standard library.
                [sys.executable, "-S", "-I", str(_HERE / program), *arguments],
                env={"PATH": os.defpath} | ({"CHECKPOINT_WORKLOAD": "1"} if is_workload else {}),
                stdin=subprocess.PIPE if is_workload else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error_file,
                process_group=0,
            )
        stat = processes.read_stat(processes.PROC / str(self._process.pid))
        self.process = Process(self._process.pid, stat.started_at_ticks if stat else 0)
        self._input = self._process.stdin
        self._output = cast("IO[bytes]", self._process.stdout)
        self._rest = b""
        # A descriptor that is closed while another thread writes may already be another file's.
        self._closing = Lock()

    def fileno(self) -> int:
        """Return the descriptor on which it says something."""
        return self._output.fileno()

    def workload(self, node: str) -> Workload:
        """Return what the contract calls it."""
        return Workload(EngineName.SIMULATE, node, pid=self.process.pid, started_at_ticks=self.process.started_at_ticks)

    def heard(self) -> list[str] | None:
        """Return the lines that it has said since; None: it says no more."""
        said = os.read(self.fileno(), _READ_BYTES)
        if not said:
            return None
        *lines, self._rest = (self._rest + said).split(b"\n")
        return [line.decode() for line in lines]

    def tell(self, *words: object) -> bool:
        """Tell it a line; False: it does not listen any more."""
        with self._closing:
            if self._input is None or self._input.closed:
                return False
            try:
                # Far below a pipe's capacity, so it never waits for a process that stands.
                os.write(self._input.fileno(), "\t".join(map(str, words)).encode() + b"\n")
            except BrokenPipeError:
                return False
            return True

    def end(self) -> int:
        """Wait for the end of a process that says no more, and return its exit code."""
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self._close()

    def kill(self) -> int:
        """End it now, standing or not."""
        self._process.send_signal(signal.SIGKILL)
        self._close()
        return self._process.wait()

    def _close(self) -> None:
        with self._closing:
            self._output.close()
            if self._input is not None:
                self._input.close()

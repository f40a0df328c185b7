"""The processes that are tasks of a demo: children of its platform, and no engine may touch them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Final, cast

from workers.cli.demo.plan import Wait
from workers.engines.processes import Process

_PROGRAM: Final = Path(__file__).with_name("task.py")
_READ_BYTES: Final = 65_536


class TaskProcess:
    """A task; it is started by the platform, never by its run: a freeze stops all that descends from that.

    Args:
        name: Of the task.
        wait: How long it takes.
        run: The process of its run.
        errors: The file where its standard error goes.
    """

    def __init__(self, name: str, wait: Wait, run: Process, *, errors: Path) -> None:
        arguments = [name, str(wait.milliseconds), *([str(run.pid)] if wait.ends_at_freeze else [])]
        with errors.open("ab") as error_file:
            self._process = subprocess.Popen(
                # Isolated: no module of this folder is mistaken for one of the standard library.
                [sys.executable, "-S", "-I", str(_PROGRAM), *arguments],
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error_file,
                process_group=0,
            )
        self._output = cast("IO[bytes]", self._process.stdout)
        self._said = b""

    def fileno(self) -> int:
        """Return the descriptor on which it says something."""
        return self._output.fileno()

    def has_said_all(self) -> bool:
        """Take what it says; return whether that was all."""
        said = os.read(self.fileno(), _READ_BYTES)
        self._said += said
        return not said

    def result(self) -> bytes | None:
        """Return what a task printed that has said all; None: it failed."""
        self._output.close()
        return self._said if self._process.wait() == 0 else None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._output.close()
        self._process.wait()

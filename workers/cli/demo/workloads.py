"""The processes that are runs of a demo: marked as workloads, started so that they can be frozen away."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.errors import EngineUnsupported
from shared.messages import Workload
from shared.vocabulary import EngineName
from workers.cli.demo.pipes import Pipe
from workers.engines import processes
from workers.engines.processes import Process

_PROGRAM: Final = Path(__file__).with_name("parent.py")
# With a pid namespace of its own a run meets, at its restore, no other process that has its pid by now.
_OWN_PIDS: Final = ("unshare", "--pid", "--fork", "setsid")
# What a run holds where its memory is given back, and where it is only paused.
_MEGABYTES: Final = {EngineName.PROCESS: 24, EngineName.SIMULATE: 1}
_END_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.01


class RunProcess:
    """The process of a run, wherever it lives now.

    If the platform dies it hears so, and ends. One that `simulate` left standing does not hear, but the kernel wakes
    and ends it: SIGHUP and SIGCONT go to a process group that lost its last tie to its session.

    Args:
        folder: Its own, which is made; it has the run's name, and the platform's named pipe is beside it.
        kinds: What it waits for, one after the other.
        engine: Who is to freeze it.
    """

    def __init__(self, folder: Path, *kinds: str, engine: EngineName) -> None:
        self._engine = engine
        folder.mkdir()
        self._pipe = Pipe(folder / "inbox")
        # Isolated: no module of this folder is mistaken for one of the standard library.
        program = [sys.executable, "-S", "-I", str(_PROGRAM), str(folder), str(_MEGABYTES[engine]), *kinds]
        # Only appended to, by all: a file that others made longer is still the same at a restore.
        with (folder.parent / "errors.log").open("ab") as errors:
            self._started = subprocess.Popen(
                [*(_OWN_PIDS if engine is EngineName.PROCESS else ()), *program],
                env={"PATH": os.environ.get("PATH", os.defpath), "CHECKPOINT_WORKLOAD": "1"},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                # One of its own: CRIU makes a folder there for a moment, by the same name for each run.
                cwd=folder,
                process_group=0,
            )
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """Where it lives, as far as is known; it has to have said something."""
        if self._process is None:
            pid = self._started.pid
            if self._engine is EngineName.PROCESS:
                pid = int((processes.PROC / f"{pid}/task/{pid}/children").read_text())
            stat = processes.read_stat(processes.PROC / str(pid))
            self._process = Process(pid, stat.started_at_ticks if stat else 0)
        return self._process

    def workload(self, node: str) -> Workload:
        """Return what the contract calls it."""
        return Workload(self._engine, node, pid=self.process.pid, started_at_ticks=self.process.started_at_ticks)

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        if workload.pid and workload.started_at_ticks:
            self._process = Process(workload.pid, workload.started_at_ticks)

    def tell(self, *words: object) -> bool:
        """Tell it a line, which it reads when it runs; False: it has ended."""
        return self._pipe.tell(*words)

    def end(self) -> None:
        """Take leave of one that has ended, or is about to; a child of ours is asked how."""
        self._pipe.close()
        try:
            self._started.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._started.kill()
            self._started.wait()


def workloads_in(folder: Path) -> list[Process]:
    """Return the live runs whose folders are in a folder, also those that were restored and never heard of."""
    found: list[Process] = []
    for entry in processes.PROC.iterdir():
        stat = processes.read_stat(entry) if entry.name.isdecimal() else None
        with suppress(OSError, EngineUnsupported):
            if stat and os.fsencode(folder / "") in (entry / "cmdline").read_bytes():
                process = Process(int(entry.name), stat.started_at_ticks)
                if processes.is_marked(process):
                    found.append(process)
    return found


def wait_for_end(folder: Path) -> list[Process]:
    """Wait until no run of a folder lives, within a limit; return those that still do."""
    deadline = time.monotonic() + _END_SECONDS
    while (left := workloads_in(folder)) and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return left


def kill_workloads(folder: Path) -> None:
    """End every run of a folder, standing or not."""
    for process in workloads_in(folder):
        processes.signal_process(process, signal.SIGKILL)
    wait_for_end(folder)

"""The engine `process`, and criu by hand: with the same options, on the same disk."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.engines import holding
from bench.engines.subject import Candidate, Heap, Run
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.criu import criu_path, why_not_criu
from tests.engines.counting import MARK, StartedRun
from workers.engines.engine import Engine
from workers.engines.pidfd import open_pidfd
from workers.engines.process import ProcessEngine
from workers.engines.restored import ClaimFolder
from workers.images.store import ImageStore

GONE_SECONDS = 30


class ProcessSubject:
    """Runs in pid namespaces of their own, as they should be started."""

    tool: str = "criu"
    transfers: tuple[tuple[type, str], ...] = (
        (ImageStore, "put"),
        (ImageStore, "fetch"),
        (ClaimFolder, "remove"),
        (ClaimFolder, "remove_dump"),
    )

    def __init__(self, settings: Settings) -> None:
        self.engine: Engine = ProcessEngine(settings)
        self._criu = settings.criu_path

    def start(self, folder: Path, heap: Heap) -> Run:
        """Start a marked process."""
        argv = [sys.executable, "-I", "-S", holding.__file__, str(folder), str(heap.megabytes), heap.kind]
        started = StartedRun(folder, argv, MARK, engine=EngineName.PROCESS, pids="own")

        def end(workload: Workload) -> None:
            _kill(_pid(workload))
            started.end()

        return Run(folder, started.workload, end=end)

    def dump(self, run: Run, into: Path) -> None:
        """`criu dump --leave-stopped`, then kill."""
        pid = _pid(run.workload)
        self._run("dump", "--leave-stopped", "--tree", str(pid), "--ghost-limit", "256M", "--tcp-established",
                  "--skip-in-flight", "--network-lock", "skip", folder=into)  # fmt: skip
        _kill(pid)

    def carry(self, run: Run, dump: Path) -> None:
        """Nothing: the dump stays where it is."""

    def restore(self, run: Run, dump: Path) -> None:
        """`criu restore`, then continue what was dumped stopped."""
        pid_file = dump.parent / "restored"
        self._run("restore", "--restore-detached", "--pidfile", str(pid_file), "--tcp-close", folder=dump)
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGCONT)
        run.workload = Workload(run.workload.engine, run.workload.node, pid=pid, started_at_ticks=0)

    def _run(self, command: str, *options: str, folder: Path) -> None:
        argv = [self._criu, command, "-v1", *options, "--images-dir", str(folder)]
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def _pid(workload: Workload) -> int:
    if workload.pid is None:
        raise LookupError("the run is no process")
    return workload.pid


def _kill(pid: int) -> None:
    """Kill a process, and return once it has given its memory back."""
    with suppress(ProcessLookupError), open_pidfd(pid) as fd:
        os.kill(pid, signal.SIGKILL)
        if fd is None or not select.select([fd], [], [], GONE_SECONDS)[0]:
            raise TimeoutError(f"no end of a killed process was seen within {GONE_SECONDS} s")


@contextmanager
def _open(folder: Path, settings: Settings) -> Generator[ProcessSubject]:
    del folder
    yield ProcessSubject(settings.model_copy(update={"criu_path": criu_path()}))


PROCESS = Candidate("process", why_not_criu, _open)

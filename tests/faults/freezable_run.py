"""A run with a ledger that can be frozen away: it hears of its waits from a file, since no pipe outlives a freeze."""

import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from shared.messages import Workload
from shared.vocabulary import EngineName
from tests.engines.containerd import Containerd
from tests.engines.counting import MARK, StartedRun, session_members, session_states
from tests.engines.dockerd import StartedContainer
from tests.engines.pods import StartedPod
from tests.waiting import wait_until

# Reads the number of a wait that is over. One that it has passed is ignored, and answered again.
PROGRAM = """
import os, sys, time
ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
inbox = os.open(sys.argv[2], os.O_RDONLY)
os.write(ledger, b"began 0\\n")
passed, heard = 0, b""
while True:
    more = os.read(inbox, 4096)
    if not more:
        time.sleep(0.01)
    *lines, heard = (heard + more).split(b"\\n")
    for number in map(int, lines):
        os.write(ledger, b"%s %d\\n" % (b"went-on" if number > passed else b"again", number))
        passed = max(passed, number)
"""


class Freezable:
    """A program with a ledger and an inbox; its platform is told where it lives."""

    id: str
    pid: int
    _registered: Workload
    _inbox: Path
    _ledger: Path

    def begin(self, folder: Path) -> list[str]:
        """Make its folder, and return the program."""
        folder.mkdir()
        self.id = f"run-{uuid4().hex[:12]}"
        self._ledger, self._inbox = folder / "ledger", folder / "inbox"
        self._inbox.touch()
        return [sys.executable, "-S", "-I", "-c", PROGRAM, str(self._ledger), str(self._inbox)]

    def register(self, workload: Workload, *, node: str) -> None:
        """Wait until it has begun, and note where it lives."""
        wait_until(lambda: self._ledger.exists() and self._ledger.stat().st_size > 0)
        self._registered = msgspec.structs.replace(workload, node=node)

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        raise NotImplementedError

    def hear(self, number: int, *, workload: Any) -> None:
        """Give the process a continuation; it reads it when it runs."""
        self._registered = Workload.from_json(workload)
        self.moved_to(self._registered)
        with self._inbox.open("ab") as inbox:
            inbox.write(b"%d\n" % number)

    def ledger(self) -> list[tuple[str, int]]:
        """Return what the process did: `went-on` or `again`, and the number of the wait."""
        lines = self._ledger.read_text().splitlines()[1:]
        return [(word, int(number)) for word, _, number in (line.partition(" ") for line in lines)]

    @property
    def stands(self) -> bool:
        """Whether any thread of the process is stopped."""
        return "T" in session_states(self.pid)

    @property
    def lives(self) -> bool:
        """Whether the process has not ended; one that is frozen away has."""
        return session_members(self.pid) != []


class FreezableRun(StartedRun, Freezable):
    """One run: an id, its process wherever that lives now, its ledger.

    Args:
        folder: For its files.
        node: The node's name in its workload.
    """

    def __init__(self, folder: Path, *, node: str) -> None:
        argv = self.begin(folder)
        super().__init__(folder, argv, MARK | {"PATH": os.defpath}, engine=EngineName.PROCESS)
        self.register(super().workload, node=node)

    @property
    def workload(self) -> Workload:
        """Return where it lives, as its platform was told last."""
        return self._registered


class FreezableContainer(StartedContainer, Freezable):
    """One run in a container of the daemon that DOCKER_HOST names.

    Args:
        folder: For its files.
        node: The node's name in its workload.
    """

    def __init__(self, folder: Path, *, node: str) -> None:
        super().__init__(os.environ["DOCKER_HOST"], folder, self.begin(folder), {})
        self.register(super().workload, node=node)

    @property
    def workload(self) -> Workload:
        """Return where it lives, as its platform was told last."""
        return self._registered

    @property
    def stands(self) -> bool:
        """Whether its daemon keeps it still, or any thread is stopped."""
        return self.state == "paused" or super().stands


class FreezablePod(StartedPod, Freezable):
    """One run in a container of a pod.

    Args:
        runtime: Where it runs.
        folder: For its files.
        node: The node's name in its workload.
    """

    def __init__(self, runtime: Containerd, folder: Path, *, node: str) -> None:
        super().__init__(runtime, folder, self.begin(folder), {})
        self.register(super().workload, node=node)

    @property
    def workload(self) -> Workload:
        """Return where it lives, as its platform was told last."""
        return self._registered

"""A workload that counts, so that whatever runs twice, skips or runs while frozen shows in its files."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from shared.messages import Workload
from shared.vocabulary import EngineName
from tests.engines import starter
from tests.waiting import wait_until

POLLS = 100
COUNTERS = ("main", "thread", "child")
MARK = {"CHECKPOINT_WORKLOAD": "1"}

PROGRAM = """
import os, subprocess, sys, threading, time

folder, role = sys.argv[1:]
with open("/proc/self/comm", "w") as comm:
    comm.write("x) T 1 (")

def count(name):
    fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_APPEND)
    number = 0
    while True:
        number += 1
        os.write(fd, b"%d\\n" % number)
        time.sleep(0.0005)

if role == "main":
    threading.Thread(target=count, args=("thread",), daemon=True).start()
    child = [sys.executable, "-c", os.environ["COUNTING"], folder, "child"]
    environment = {"COUNTING": os.environ["COUNTING"]}
    # In a group of its own, as a shell's jobs are.
    subprocess.Popen(child, env=environment, process_group=0)
count(role)
"""


class StartedRun:
    """A run in a session of its own, with its output nowhere, whose starter asks how its processes end.

    Args:
        folder: For its files.
        argv: The program.
        environment: All of it.
        engine: What its workload names.
        pids: Whether it has a pid namespace of its own, or shares this one.
    """

    def __init__(
        self,
        folder: Path,
        argv: list[str],
        environment: dict[str, str],
        *,
        engine: EngineName = EngineName.SIMULATE,
        pids: Literal["own", "shared"] = "shared",
    ) -> None:
        self.folder = folder
        pid_file = folder / "pid"
        self._starter = subprocess.Popen(
            [sys.executable, "-I", "-S", starter.__file__, str(pid_file), pids, *argv],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Its own: in the folder of a run with pids of its own criu makes a folder of one name, for a moment.
            cwd=folder,
        )
        wait_until(pid_file.exists)
        self.pid = int(pid_file.read_text())
        self._engine = engine

    @property
    def workload(self) -> Workload:
        """Return what an upstream would say of it."""
        return msgspec.structs.replace(workload_of(self.pid), engine=self._engine)

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        assert workload.pid is not None
        self.pid = workload.pid

    def end(self) -> None:
        """Kill it and its children, standing or not, and wait for them."""
        end_session(self.pid)
        self._starter.wait()


class Counting:
    """A program with a thread and a child, each of which counts in a file of its own, wherever it lives."""

    folder: Path
    pid: int
    looks = POLLS

    @staticmethod
    def begin(folder: Path) -> list[str]:
        """Make its folder, and return the program."""
        folder.mkdir()
        for name in COUNTERS:
            (folder / name).touch()
        return [sys.executable, "-c", PROGRAM, str(folder), "main"]

    def counts(self) -> dict[str, list[int]]:
        """Return what each of its counters has counted so far."""
        return {name: [int(line) for line in (self.folder / name).read_text().splitlines()] for name in COUNTERS}

    def pids(self) -> dict[str, int]:
        """Return the pid or thread id of each of its counters."""
        (thread,) = {int(task.name) for task in _tasks(self.pid)} - {self.pid}
        (child,) = set(session_members(self.pid)) - {self.pid}
        return {"main": self.pid, "thread": thread, "child": child}

    def is_kept_still(self) -> bool:
        """Whether every thread of every process is stopped."""
        return session_states(self.pid) == {"T"}

    def assert_runs(self) -> None:
        """Every counter goes on, and none has skipped or repeated a number."""
        before = self.counts()
        wait_until(lambda: all(len(now) > len(before[name]) for name, now in self.counts().items()))
        self.assert_counted_without_gap()

    def assert_stands(self) -> None:
        """No thread of any process runs, and over many looks no counter goes on."""
        before = self.counts()
        for _ in range(self.looks):
            assert self.is_kept_still()
            assert self.counts() == before

    def assert_counted_without_gap(self) -> None:
        """Each counter has counted 1, 2, 3 and so on."""
        for name, numbers in self.counts().items():
            gaps = [pair for pair in pairwise([0, *numbers]) if pair[1] != pair[0] + 1]
            assert gaps == [], name


class CountingProcess(Counting, StartedRun):
    """A process that counts. Its child is not marked itself; it is a workload's because its parent is.

    Args:
        folder: For its files.
        mark: What marks it as a workload; empty for a process that must not be touched.
        engine: What its workload names.
        pids: Whether it has a pid namespace of its own.
    """

    def __init__(
        self,
        folder: Path,
        mark: dict[str, str] = MARK,
        *,
        engine: EngineName = EngineName.SIMULATE,
        pids: Literal["own", "shared"] = "shared",
    ) -> None:
        argv = self.begin(folder)
        super().__init__(folder, argv, {"COUNTING": PROGRAM, **mark}, engine=engine, pids=pids)
        wait_until(lambda: all(self.counts().values()))


def workload_of(pid: int) -> Workload:
    """Return what an upstream would say of a process."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return Workload.from_json({"engine": "simulate", "node": "here", "pid": pid, "started_at_ticks": started})


def session_members(session: int) -> list[int]:
    """Return the live processes of a session, whoever their parents are."""
    members: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            fields = _fields(folder)
            if fields and fields[3] == str(session) and fields[0] not in {"Z", "X"}:
                members.append(int(folder.name))
    return members


def session_states(session: int) -> set[str]:
    """Return the states of all threads of all processes of a session."""
    tasks = [task for pid in session_members(session) for task in _tasks(pid)]
    return {fields[0] for fields in map(_fields, tasks) if fields}


def end_session(session: int) -> None:
    """Kill every process of a session, also those in other groups, and wait until none lives."""

    def is_empty() -> bool:
        signal_session(session, signal.SIGKILL)
        return not session_members(session)

    wait_until(is_empty)


def signal_session(session: int, number: signal.Signals) -> None:
    """Signal every process of a session, also those in other groups."""
    for pid in session_members(session):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def _fields(folder: Path) -> list[str]:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []

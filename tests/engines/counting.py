"""A workload that counts, so that whatever runs twice, skips or runs while frozen shows in its files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from shared.messages import Workload
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
    subprocess.Popen(child, env=environment)
count(role)
"""


class CountingProcess:
    """A process with a thread and a child, each of which counts in a file of its own.

    The child is not marked itself; it is a workload's because its parent is.

    Args:
        folder: For its files.
        mark: What marks it as a workload; empty for a process that must not be touched.
    """

    def __init__(self, folder: Path, mark: dict[str, str] = MARK) -> None:
        folder.mkdir()
        for name in COUNTERS:
            (folder / name).touch()
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), "main"],
            env={"COUNTING": PROGRAM, **mark},
            start_new_session=True,
        )

    @property
    def workload(self) -> Workload:
        """Return what an upstream would say of it."""
        return workload_of(self.process.pid)

    def counts(self) -> dict[str, list[int]]:
        """Return what each of its counters has counted so far."""
        return {name: [int(line) for line in (self.folder / name).read_text().splitlines()] for name in COUNTERS}

    def wait_started(self) -> None:
        """Return once every counter has begun."""
        wait_until(lambda: all(self.counts().values()))

    def assert_runs(self) -> None:
        """Every counter goes on, and none has skipped or repeated a number."""
        before = self.counts()
        wait_until(lambda: all(len(now) > len(before[name]) for name, now in self.counts().items()))
        self.assert_counted_without_gap()

    def assert_stands(self) -> None:
        """No thread of any process runs, and over many looks no counter goes on."""
        before = self.counts()
        for _ in range(POLLS):
            assert session_states(self.process.pid) == {"T"}
            assert self.counts() == before

    def assert_counted_without_gap(self) -> None:
        """Each counter has counted 1, 2, 3 and so on."""
        for numbers in self.counts().values():
            assert numbers == list(range(1, len(numbers) + 1))

    def end(self) -> None:
        """Kill it and its child, standing or not, and wait for both."""
        end_session(self.process)


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
    tasks = [task for pid in session_members(session) for task in Path(f"/proc/{pid}/task").iterdir()]
    return {fields[0] for fields in map(_fields, tasks) if fields}


def end_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill every process of a session, also those in other groups, and wait for them."""

    def is_empty() -> bool:
        members = session_members(leader.pid)
        for pid in members:
            os.kill(pid, signal.SIGKILL)
        return not members

    wait_until(is_empty)
    leader.wait()


def _fields(folder: Path) -> list[str]:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []

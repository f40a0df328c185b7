"""One holder of a run's lock on a node, in whichever thread or process; it lasts as long as a command."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Thread

import pytest

from shared.errors import EngineUnavailable, Misconfigured
from tests.waiting import wait_until
from workers.node.lock import agent_lock, node_lock

RIVALS = 16

HOLDER = """
import sys, subprocess, time
from pathlib import Path
from workers.node.lock import node_lock

folder, mode = Path(sys.argv[1]), sys.argv[2]
with node_lock(folder, "run_1") as lock:
    if lock is None:
        print("busy", flush=True)
        sys.exit()
    if mode == "command":
        command = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=0, stdout=2, pass_fds=(lock.fd,)
        )
        print(command.pid, flush=True)
        command.wait()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's lock folder that does not exist yet."""
    return tmp_path / "locks"


class Holder:
    """Another process that tries for the lock of `run_1`; with a command that inherits it, if asked for."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()

    def end(self) -> None:
        """Let it end by itself, and its command too: both read the same input until its end."""
        self.process.communicate(timeout=20)


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    """Processes to be ended after the test."""
    started: list[Holder] = []
    yield started
    for holder in started:
        holder.process.kill()
        holder.end()


def is_free(folder: Path) -> bool:
    """Whether the lock of `run_1` can be had now."""
    with node_lock(folder, "run_1") as lock:
        return lock is not None


def test_a_lock_keeps_others_out_until_it_is_released(folder: Path) -> None:
    """Whoever comes second is told so at once; after the release the lock can be had again."""
    with node_lock(folder, "run_1") as first, node_lock(folder, "run_1") as second:
        assert first is not None
        assert second is None

    assert is_free(folder)


def test_runs_do_not_hinder_each_other(folder: Path) -> None:
    """Each run has a lock of its own, and the agent has another."""
    with node_lock(folder, "run_1") as one, node_lock(folder, "run_2") as two, agent_lock(folder) as agent:
        assert None not in (one, two, agent)


def test_one_agent_per_node(folder: Path) -> None:
    """A second agent is refused for as long as the first lives."""
    with agent_lock(folder) as first, agent_lock(folder) as second:
        assert first is not None
        assert second is None


@pytest.mark.parametrize("run_id", ["../../etc/passwd", "a/b", ".", "x" * 200, "läuft 🏃"])
def test_a_run_id_is_never_a_file_name(folder: Path, run_id: str) -> None:
    """The only file is one in the folder, named by a hash, and nobody else may read it."""
    with node_lock(folder, run_id) as lock:
        assert lock is not None
        [file] = folder.iterdir()

        assert len(file.name) == 32
        assert set(file.name) <= set("0123456789abcdef")
        assert file.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700


def test_lock_files_do_not_pile_up(folder: Path) -> None:
    """A released lock leaves no file behind, whether or not somebody tried for it meanwhile."""
    for number in range(20):
        with node_lock(folder, f"run_{number}"), node_lock(folder, f"run_{number}"):
            pass

    assert list(folder.iterdir()) == []


def test_an_error_inside_releases_the_lock(folder: Path) -> None:
    """A holder that fails does not keep the run locked."""
    with pytest.raises(ZeroDivisionError), node_lock(folder, "run_1"):
        _ = 1 // 0

    assert is_free(folder)


def test_only_one_of_many_threads_gets_the_lock(folder: Path) -> None:
    """Threads of one process exclude each other as processes do."""
    start, tried = Barrier(RIVALS), Barrier(RIVALS)

    def rival(_number: int) -> bool:
        start.wait()
        with node_lock(folder, "run_1") as lock:
            tried.wait()
            return lock is not None

    with ThreadPoolExecutor(RIVALS) as rivals:
        winners = sum(rivals.map(rival, range(RIVALS)))

    assert winners == 1


def test_never_two_at_once_while_files_come_and_go(folder: Path) -> None:
    """The removal of a released file never lets two in: a lock on a file without a name does not count."""
    inside: list[int] = []
    overlaps: list[int] = []
    entries: list[int] = []

    def rival(number: int) -> None:
        for _ in range(200):
            with node_lock(folder, "run_1") as lock:
                if lock is not None:
                    inside.append(number)
                    overlaps.extend(inside[1:])
                    entries.append(number)
                    inside.remove(number)

    with ThreadPoolExecutor(RIVALS) as rivals:
        list(rivals.map(rival, range(RIVALS)))

    assert overlaps == []
    assert entries
    assert list(folder.iterdir()) == []


def test_a_lock_on_a_removed_file_does_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that releases, and so removes the file, between our open and our flock lets only one in."""
    holder = ExitStack()
    holder.enter_context(node_lock(folder, "run_1"))
    flock = fcntl.flock

    def flock_after_the_release(fd: int, operation: int) -> None:
        monkeypatch.undo()
        holder.close()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_release)

    with node_lock(folder, "run_1") as lock:
        assert lock is not None
        assert not is_free(folder)


def test_only_one_of_two_processes_gets_the_lock(folder: Path, holders: list[Holder]) -> None:
    """Two workers of a node that come at the same moment exclude each other."""
    start = Barrier(2)

    def rival() -> None:
        start.wait()
        holders.append(Holder(folder, "hold"))

    rivals = [Thread(target=rival) for _ in range(2)]
    for thread in rivals:
        thread.start()
    for thread in rivals:
        thread.join()

    assert sorted(holder.said for holder in holders) == ["busy", "held"]


def test_a_killed_holder_leaves_no_lock(folder: Path, holders: list[Holder]) -> None:
    """Kill -9 of a worker without a command frees the lock; the file that it left is used again."""
    holder = Holder(folder, "hold")
    holders.append(holder)
    assert not is_free(folder)

    holder.process.kill()
    holder.process.wait()

    assert is_free(folder)
    assert list(folder.iterdir()) == []


def test_the_lock_lasts_as_long_as_the_command_of_a_killed_worker(folder: Path, holders: list[Holder]) -> None:
    """Kill -9 of a worker whose command still runs keeps the run locked until the command has ended."""
    holder = Holder(folder, "command")
    holders.append(holder)
    command = int(holder.said)

    holder.process.kill()
    holder.process.wait()
    for _ in range(50):
        assert not is_free(folder)
    assert Path(f"/proc/{command}").exists()

    os.kill(command, signal.SIGKILL)
    wait_until(lambda: is_free(folder))


def test_a_command_that_outlives_the_release_keeps_the_lock(folder: Path) -> None:
    """The file is not removed under a command that still holds it: a second lock would stand beside it."""
    with node_lock(folder, "run_1") as lock:
        assert lock is not None
        command = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=(lock.fd,),
        )

    assert not is_free(folder)

    command.communicate()
    wait_until(lambda: is_free(folder))
    assert list(folder.iterdir()) == []


def test_programs_started_without_the_lock_do_not_hold_it(folder: Path) -> None:
    """Only a command that is given the descriptor inherits it."""
    with node_lock(folder, "run_1") as lock:
        assert lock is not None
        assert not os.get_inheritable(lock.fd)
        other = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
        )

    # Right after its start a program still has every descriptor: exec closes them a moment later.
    wait_until(lambda: is_free(folder))
    other.communicate()


def test_a_link_in_place_of_a_lock_file_is_refused(folder: Path, tmp_path: Path) -> None:
    """Nobody can make a worker open a file elsewhere."""
    with node_lock(folder, "run_1"):
        [file] = folder.iterdir()
    target = tmp_path / "target"
    file.symlink_to(target)

    with pytest.raises(EngineUnavailable, match="is a link"), node_lock(folder, "run_1"):
        pass

    assert not target.exists()


def test_a_folder_that_others_can_write_is_refused(folder: Path) -> None:
    """A lock that others could remove keeps nobody out."""
    folder.mkdir(mode=0o700)
    folder.chmod(0o777)

    with pytest.raises(Misconfigured, match="CHECKPOINT_LOCK_FOLDER"), node_lock(folder, "run_1"):
        pass

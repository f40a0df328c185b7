"""A dump of running tasks is made one that is restored standing; by the real criu."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import EngineUnsupported
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.counting import CountingProcess, end_session, signal_session
from workers.engines.standing_dump import make_standing

Counting = Callable[..., CountingProcess]


@pytest.fixture
def criu(process_settings: Settings) -> Callable[..., None]:
    """Call the real criu; what it holds runs before and after."""

    def call(*arguments: str) -> None:
        argv = [process_settings.criu_path, *arguments]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)

    return call


def test_a_dump_of_a_running_tree_is_restored_standing(
    criu: Callable[..., None], a_counting_process: Counting, tmp_path: Path
) -> None:
    """No counter counts before it is continued; then each goes on where it was dumped, without a gap."""
    dump = tmp_path / "dump"
    dump.mkdir()
    counting = a_counting_process(engine=EngineName.PROCESS, pids="own")
    criu("dump", "--tree", str(counting.pid), "--images-dir", str(dump))
    counting.end()

    tasks = [make_standing(dump) for _ in range(2)]

    assert tasks == [2, 2]
    pid_file = tmp_path / "restored"
    criu("restore", "--images-dir", str(dump), "--restore-detached", "--pidfile", str(pid_file))
    counting.pid = int(pid_file.read_text())
    try:
        counting.assert_stands()
        signal_session(counting.pid, signal.SIGCONT)
        counting.assert_runs()
    finally:
        end_session(counting.pid)


def test_only_the_state_of_each_task_is_changed(
    criu: Callable[..., None], a_counting_process: Counting, tmp_path: Path
) -> None:
    """One byte of the file of each process; none in that of a thread, and none elsewhere."""
    counting = a_counting_process(engine=EngineName.PROCESS, pids="own")
    criu("dump", "--tree", str(counting.pid), "--images-dir", str(tmp_path), "--leave-running")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.img")}

    make_standing(tmp_path)

    changes = {
        name: [(old, new) for old, new in zip(image, (tmp_path / name).read_bytes(), strict=True) if old != new]
        for name, image in before.items()
    }
    assert sorted(filter(None, changes.values())) == [[(1, 3)], [(1, 3)]]


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    """Whatever it is, nothing in it can be held."""
    with pytest.raises(EngineUnsupported, match="holds no task"):
        make_standing(tmp_path)


@pytest.mark.parametrize(
    "image",
    [
        b"",
        bytes(12),
        bytes.fromhex("1943565447380555 01000000"),  # shorter than it says
        bytes.fromhex("1943565447380555 02000000 0f00"),  # a field of no known kind
        bytes.fromhex("1943565447380555 02000000 1a05"),  # a field longer than its message
        bytes.fromhex("1943565447380555 04000000 1a021001"),  # a task without a state
        bytes.fromhex("1943565447380555 0c000000 08ffffffffffffffffffffff"),  # a number without an end
    ],
)
def test_a_dump_that_is_written_otherwise_is_refused_as_a_whole(tmp_path: Path, image: bytes) -> None:
    """Restored as it is, it would run at once; so nobody may take it for one that stands."""
    whole = bytes.fromhex("1943565447380555 04000000 1a020801")
    (tmp_path / "core-1.img").write_bytes(whole)
    (tmp_path / "core-2.img").write_bytes(image)

    with pytest.raises(EngineUnsupported, match="not written as expected"):
        make_standing(tmp_path)

    assert (tmp_path / "core-1.img").read_bytes() == whole

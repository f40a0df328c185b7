"""The engine `process` from its image on: an image is restored as a whole and once, or nothing of it is left."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnavailable, ImageRefused, RunGone
from shared.messages import Workload
from shared.settings import Settings
from tests.engines.conftest import Criu, EngineCase, Frozen
from tests.engines.counting import session_members
from tests.processes import processes_of
from tests.waiting import wait_until
from workers.engines.engine import Engine
from workers.images.store import ARCHIVE
from workers.node.lock import NodeLock, node_lock

NEVER = Event()

# A worker that restores; it is killed meanwhile.
RESTORING = """
import json, sys
from pathlib import Path
from threading import Event
from shared.messages import Workload
from shared.settings import Settings
from workers.engines.engine import Image
from workers.engines.process import ProcessEngine
from workers.node.lock import node_lock

settings, folder, location, digest, workload = sys.argv[1:]
engine = ProcessEngine(Settings.model_validate(json.loads(settings)))
with node_lock(Path(folder), "run_2") as lock:
    image = Image(location, digest, 0)
    engine.restore(image, name="17-2", workload=Workload.from_json(json.loads(workload)), lock=lock, stop=Event())
"""


@pytest.fixture
def frozen(process_engine: EngineCase, lock: NodeLock) -> Frozen:
    """A counting workload that was frozen, stored and killed."""
    counting = process_engine.start()
    workload, pids = counting.workload, counting.pids()
    process_engine.engine.freeze(workload, lock=lock, stop=NEVER)
    image = process_engine.engine.store(workload, name="17-1", lock=lock, stop=NEVER)
    process_engine.engine.kill(workload)
    return Frozen(counting, workload, image, pids)


def restore(engine: Engine, frozen: Frozen, lock: NodeLock, name: str = "17-2") -> Workload:
    """Restore a frozen workload."""
    held = engine.restore(frozen.image, name=name, workload=frozen.workload, lock=lock, stop=NEVER)
    frozen.counting.moved_to(held)
    return held


def assert_goes_on(engine: Engine, frozen: Frozen, lock: NodeLock, name: str = "17-3") -> None:
    """The frozen run can be brought back."""
    engine.permit(restore(engine, frozen, lock, name))
    frozen.counting.assert_runs()


@pytest.mark.parametrize("restored", ["main", "child"])
def test_a_restore_that_is_killed_in_the_middle_leaves_nothing(
    process_engine: EngineCase, a_criu: Criu, frozen: Frozen, lock: NodeLock, restored: str
) -> None:
    """Neither half a tree that holds its pids, nor a process that runs without a permit; the next one succeeds."""
    pid = frozen.pids[restored]
    before = frozen.counting.counts()
    engine = a_criu(f'"$CRIU" "$@" & until kill -0 {pid} 2>&-; do :; done; kill -9 $!; wait $!')

    with pytest.raises(EngineUnavailable):
        restore(engine, frozen, lock)

    assert session_members(frozen.counting.pid) == []
    assert process_engine.left() == ["17-1"]
    held = restore(process_engine.engine, frozen, lock, "17-3")
    assert frozen.counting.counts() == before
    process_engine.engine.permit(held)
    frozen.counting.assert_runs()


def test_a_restore_above_its_time_limit_leaves_nothing(
    process_engine: EngineCase, a_criu: Criu, frozen: Frozen, lock: NodeLock
) -> None:
    """It is ended politely: whatever it had restored goes with it."""
    slow = a_criu('"$CRIU" "$@" && exec sleep 1000', engine_timeout_ms=2_000)

    with pytest.raises(EngineUnavailable, match="longer than its limit"):
        restore(slow, frozen, lock)

    assert session_members(frozen.counting.pid) == []
    assert process_engine.left() == ["17-1"]
    assert_goes_on(process_engine.engine, frozen, lock)


@dataclass(frozen=True, slots=True)
class Gated:
    """A worker whose restore waits in front of a gate.

    Attributes:
        process: The worker.
        folder: Its claims' folder.
        locks: Where it holds a lock.
        gate: A pipe.
    """

    process: "subprocess.Popen[bytes]"
    folder: Path
    locks: Path
    gate: Path

    def kill(self) -> None:
        """Kill -9 the worker."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def open_gate(self) -> None:
        """Let the restore go on."""
        self.gate.write_text("go on\n")

    def is_free(self) -> bool:
        """Whether nobody holds the worker's lock."""
        with node_lock(self.locks, "run_2") as free:
            return free is not None


@pytest.fixture
def a_restoring_worker(process_settings: Settings, a_criu: Criu, frozen: Frozen, tmp_path: Path) -> Callable[[], Gated]:
    """Start a worker that restores the frozen workload as claim 17-2, and wait until criu is at the gate."""

    def start() -> Gated:
        gate = tmp_path / "gate"
        os.mkfifo(gate)
        a_criu(f'touch "{tmp_path}/began"; cat "{gate}"; exec "$CRIU" "$@"')
        named = {
            "criu_path": str(tmp_path / "criu"),
            "work_folder": str(process_settings.work_folder),
            "image_store": process_settings.image_store,
        }
        image, workload = frozen.image, json.dumps(frozen.workload.to_json())
        argv = [json.dumps(named), str(tmp_path / "locks"), image.location, str(image.digest), workload]
        worker = subprocess.Popen([sys.executable, "-c", RESTORING, *argv])
        wait_until((tmp_path / "began").exists)
        return Gated(worker, process_settings.work_folder, tmp_path / "locks", gate)

    return start


def test_a_worker_that_dies_in_a_restore_does_not_end_it(
    process_engine: EngineCase, a_restoring_worker: Callable[[], Gated], frozen: Frozen, lock: NodeLock
) -> None:
    """The restore keeps the run's lock until it has ended; then the same claim finds what it restored."""
    worker = a_restoring_worker()
    worker.kill()

    assert not worker.is_free()
    worker.open_gate()
    wait_until(worker.is_free)
    (standing,) = [one for one in process_engine.engine.standing(node="here") if one.pid == frozen.workload.pid]
    held = restore(process_engine.engine, frozen, lock, "17-2")

    assert held == standing
    process_engine.engine.permit(held)
    frozen.counting.assert_runs()


def test_a_restore_keeps_the_lock_although_all_that_began_it_died(
    a_restoring_worker: Callable[[], Gated], frozen: Frozen
) -> None:
    """Nobody acts on the run beside a criu that is at work."""
    worker = a_restoring_worker()
    worker.kill()
    (launcher,) = [one for one in processes_of(worker.folder) if "restoring.py" in one.command]

    os.kill(launcher.pid, signal.SIGKILL)
    wait_until(lambda: launcher not in processes_of(worker.folder))

    assert not worker.is_free()
    worker.open_gate()
    wait_until(worker.is_free)
    assert session_members(frozen.counting.pid) != []


def test_a_restored_run_does_not_hold_the_lock(process_engine: EngineCase, frozen: Frozen, lock: NodeLock) -> None:
    """It would keep everybody from freezing it again."""
    held = restore(process_engine.engine, frozen, lock)

    assert [one for one in opened_files(held.pid or 0) if "locks" in one.parts] == []
    assert [one for one in opened_files(os.getpid()) if "locks" in one.parts] != []


def opened_files(pid: int) -> list[Path]:
    """Return what a process has open."""
    return [one.readlink() for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()]


def test_a_pid_that_is_taken_is_named(process_engine: EngineCase, lock: NodeLock) -> None:
    """By whom, and what to do; here by the run itself, which was never killed. Once it is free the run comes back."""
    counting = process_engine.start()
    engine, workload = process_engine.engine, counting.workload
    engine.freeze(workload, lock=lock, stop=NEVER)
    frozen = Frozen(counting, workload, engine.store(workload, name="17-1", lock=lock, stop=NEVER))

    with pytest.raises(EngineUnavailable, match=rf"pid {workload.pid}, .*belongs to 'x\) T 1 \('.*unshare"):
        restore(engine, frozen, lock)

    counting.assert_stands()
    assert process_engine.left() == ["17-1"]
    engine.kill(workload)
    assert_goes_on(engine, frozen, lock)


def test_an_image_that_was_changed_is_not_restored(
    process_engine: EngineCase, process_settings: Settings, frozen: Frozen, lock: NodeLock
) -> None:
    """Criu is not even started, and the node is clean."""
    archive = Path(process_settings.image_store.removeprefix("file://")) / "17-1" / ARCHIVE
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    with pytest.raises(ImageRefused):
        restore(process_engine.engine, frozen, lock)

    assert session_members(frozen.counting.pid) == []
    assert process_engine.left() == ["17-1"]
    archive.write_bytes(whole)
    assert_goes_on(process_engine.engine, frozen, lock)


def test_an_image_that_is_gone_is_said_to_be(process_engine: EngineCase, frozen: Frozen, lock: NodeLock) -> None:
    """Nothing is left that could be restored."""
    process_engine.engine.discard(frozen.image.location)

    with pytest.raises(RunGone):
        restore(process_engine.engine, frozen, lock)

    assert process_engine.left() == []


def test_a_file_that_the_run_needs_and_that_changed_is_named(
    process_engine: EngineCase, frozen: Frozen, lock: NodeLock
) -> None:
    """In criu's words; put right, the run comes back."""
    counted = frozen.counting.folder / "main"
    away = counted.rename(counted.with_suffix(".away"))

    with pytest.raises(EngineUnavailable, match="No such file"):
        restore(process_engine.engine, frozen, lock)

    assert session_members(frozen.counting.pid) == []
    away.rename(counted)
    assert_goes_on(process_engine.engine, frozen, lock)

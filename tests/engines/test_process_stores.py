"""The engine `process` until its image is stored: what it refuses, and that the run lives on whatever happens."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported, ImageRefused, Misconfigured
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.conftest import Criu, EngineCase
from tests.engines.counting import MARK, CountingProcess, StartedRun, end_session, session_members, workload_of
from tests.waiting import wait_until
from workers.engines import ending
from workers.engines.process import ProcessEngine
from workers.node.lock import NodeLock

NEVER = Event()


def test_a_run_with_a_terminal_cannot_be_frozen(process_settings: Settings, lock: NodeLock) -> None:
    """No retry can mend it; the error says what to do, in our words and criu's."""
    controlling, terminal = pty.openpty()
    argv = [sys.executable, "-S", "-c", "import time\nwhile True: time.sleep(0.01)"]
    run = subprocess.Popen(argv, stdin=terminal, env=MARK, start_new_session=True)
    engine, workload = ProcessEngine(process_settings), workload_of(run.pid)
    engine.freeze(workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnsupported, match=r"the run has a terminal.*Error \(criu/tty"):
        engine.store(workload, name="17-1", lock=lock, stop=NEVER)

    assert engine.is_standing(workload)
    end_session(run.pid)
    run.wait()
    for fd in (controlling, terminal):
        os.close(fd)


def test_a_process_within_a_namespace_is_not_the_whole_of_it(
    process_settings: Settings, tmp_path: Path, lock: NodeLock
) -> None:
    """CRIU dumps a pid namespace as a whole: its first process has to be named."""
    run = StartedRun(tmp_path, ["sh", "-c", "sleep 1000 & wait"], MARK, engine=EngineName.PROCESS, pids="own")
    wait_until(lambda: len(session_members(run.pid)) > 1)
    (child,) = set(session_members(run.pid)) - {run.pid}
    engine = ProcessEngine(process_settings)

    with pytest.raises(EngineUnsupported, match="Name its first process"):
        engine.freeze(workload_of(child), lock=lock, stop=NEVER)

    assert not engine.is_standing(workload_of(child))
    run.end()


def test_a_failed_dump_says_what_criu_said(process_engine: EngineCase, a_criu: Criu, lock: NodeLock) -> None:
    """But for the line that it always says; another try may mend it, and the run stands until it is settled."""
    engine = a_criu(
        """echo "Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted"
        echo 'Warn  (criu/x.c:1): something'; echo 'Error (criu/x.c:2): no space in the sky'; exit 1"""
    )
    counting = process_engine.start()
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnavailable) as caught:
        engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    assert caught.value.message == "CRIU failed: Error (criu/x.c:2): no space in the sky"
    assert process_engine.left() == []
    counting.assert_stands()


def test_a_revocation_waits_for_the_dump(
    process_engine: EngineCase, a_criu: Criu, lock: NodeLock, tmp_path: Path
) -> None:
    """Criu that is killed in the middle may take the run with it; so the dump ends, and then nothing is stored."""
    gate, revoked = tmp_path / "gate", Event()
    os.mkfifo(gate)
    engine = a_criu(
        f'touch "{tmp_path}/began"; cat "{gate}"; "$CRIU" "$@"; code=$?; touch "{tmp_path}/ended"; exit $code'
    )
    counting = process_engine.start()
    engine.freeze(counting.workload, lock=lock, stop=revoked)

    with ThreadPoolExecutor(1) as worker:
        storing = worker.submit(engine.store, counting.workload, name="17-1", lock=lock, stop=revoked)
        wait_until((tmp_path / "began").exists)
        revoked.set()
        gate.write_text("go on\n")
        with pytest.raises(EngineRevoked):
            storing.result()

    assert (tmp_path / "ended").exists()
    assert process_engine.left() == []
    engine.thaw(counting.workload)
    counting.assert_runs()


def test_a_workload_that_somebody_continued_is_not_stored(
    process_engine: EngineCase, a_criu: Criu, lock: NodeLock
) -> None:
    """During the dump: an image of a process that ran meanwhile would have a running twin."""
    counting = process_engine.start()
    engine = a_criu(f'"$CRIU" "$@"; kill -CONT {counting.pid}')
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.engines.tree.STANDING_SECONDS", 0.1)
        with pytest.raises(EngineUnavailable, match="runs; expected"):
            engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    assert process_engine.left() == []


def test_a_dump_that_the_disk_has_no_room_for_is_not_begun(
    process_engine: EngineCase, process_settings: Settings, lock: NodeLock
) -> None:
    """A full disk would harm everybody on the node; another try may find room."""
    counting = process_engine.start()
    engine = ProcessEngine(process_settings.model_copy(update={"free_bytes_min": 2**60}))
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnavailable, match="CHECKPOINT_FREE_BYTES_MIN"):
        engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    assert process_engine.left() == []
    counting.assert_stands()


def test_an_image_above_a_limit_is_not_stored(
    process_engine: EngineCase, process_settings: Settings, lock: NodeLock
) -> None:
    """It could not be restored: the run lives on, and no other try is made."""
    counting = process_engine.start()
    engine = ProcessEngine(process_settings.model_copy(update={"image_bytes_max": 1_000_000}))
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(ImageRefused, match="CHECKPOINT_IMAGE_BYTES_MAX"):
        engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    assert process_engine.left() == []
    engine.thaw(counting.workload)
    counting.assert_runs()


def test_what_dead_workers_left_is_removed_by_the_next_store(
    process_engine: EngineCase, process_settings: Settings, lock: NodeLock
) -> None:
    """One died between its store and its offer, one in its dump: both are found by the names of their claims."""
    counting = process_engine.start()
    process_engine.engine.freeze(counting.workload, lock=lock, stop=NEVER)
    process_engine.engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    half = process_settings.work_folder / "17-2" / "dump"
    half.mkdir(parents=True)
    (half / "pages-1.img").write_bytes(b"half")

    process_engine.engine.store(counting.workload, name="17-3", lock=lock, stop=NEVER)

    assert process_engine.left() == ["17-3"]


@pytest.mark.parametrize("name", ["../17-1", "17", "run-1", "17-1/x"])
def test_folders_are_named_by_claims_alone(process_engine: EngineCase, lock: NodeLock, name: str) -> None:
    """Never by anything that an upstream said."""
    counting = process_engine.start()
    process_engine.engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(ImageRefused, match="no image's name"):
        process_engine.engine.store(counting.workload, name=name, lock=lock, stop=NEVER)

    assert process_engine.left() == []


def test_a_work_folder_that_others_can_write_to_is_refused(process_settings: Settings) -> None:
    """Whoever can change a dump there runs code as the worker."""
    process_settings.work_folder.mkdir(mode=0o777)
    process_settings.work_folder.chmod(0o777)

    with pytest.raises(Misconfigured, match="CHECKPOINT_WORK_FOLDER"):
        ProcessEngine(process_settings).probe()


def test_a_node_without_criu_is_told_so(process_settings: Settings) -> None:
    """With what to do about it."""
    engine = ProcessEngine(process_settings.model_copy(update={"criu_path": "/nowhere/criu"}))

    with pytest.raises(EngineUnsupported, match=r"/nowhere/criu.*make criu.*CHECKPOINT_CRIU_PATH"):
        engine.probe()


def test_a_node_whose_kernel_forbids_it_is_told_why(a_criu: Criu) -> None:
    """In criu's own words."""
    engine = a_criu("echo 'Error (criu/cr-check.c:1): System call kcmp is not supported' >&2; exit 1")

    with pytest.raises(EngineUnsupported, match="kcmp is not supported"):
        engine.probe()


def test_a_pid_that_its_parent_holds_is_waited_for_and_then_named(
    process_settings: Settings, monkeypatch: pytest.MonkeyPatch, lock: NodeLock
) -> None:
    """A restore needs the pid; only the upstream can give it back, by asking how its run ended."""
    monkeypatch.setattr(ending, "VANISH_SECONDS", 0.1)
    run = subprocess.Popen(["sleep", "1000"], env=MARK, start_new_session=True)
    engine, workload = ProcessEngine(process_settings), workload_of(run.pid)
    engine.freeze(workload, lock=lock, stop=NEVER)

    for _ in range(2):
        with pytest.raises(EngineUnavailable, match=f"its parent {os.getpid()} asks how it ended"):
            engine.kill(workload)

    run.wait()
    engine.kill(workload)


def test_a_whole_tree_is_killed(process_engine: EngineCase, a_counting_process: Callable[..., CountingProcess]) -> None:
    """Also one that runs, and whose child is in a group of its own; one that is not marked is left alone."""
    counting, other = process_engine.start(), a_counting_process(mark={})

    process_engine.engine.kill(counting.workload)
    process_engine.engine.kill(other.workload)

    assert session_members(counting.pid) == []
    other.assert_runs()


CAN_BE_MOVED: dict[str, tuple[bool, dict[str, object]]] = {
    "a folder": (False, {}),
    "a shared folder": (True, {"image_store_shared": True}),
    "connections that go on": (False, {"image_store_shared": True, "process_tcp": "established"}),
}


@pytest.mark.parametrize("kept", CAN_BE_MOVED)
def test_an_image_says_whether_another_node_can_restore_it(
    process_engine: EngineCase, process_settings: Settings, lock: NodeLock, kept: str
) -> None:
    """A store that other nodes see too, and no connection that belongs to this one's address."""
    is_portable, changed = CAN_BE_MOVED[kept]
    counting = process_engine.start()
    engine = ProcessEngine(process_settings.model_copy(update=changed))
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    image = engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    assert image.is_portable is is_portable

"""What the engine `docker` promises beyond the conformance suite: names, files, modes; with a real daemon."""

import gc
from collections.abc import Callable
from pathlib import Path
from threading import Event

import msgspec
import pytest

from shared.errors import EngineUnavailable, EngineUnsupported
from shared.settings import Settings
from tests.engines.counting import session_members
from tests.engines.dockerd import CountingContainer, docker
from workers.engines import cgroups
from workers.engines.containers import Daemon
from workers.engines.docker import DockerEngine
from workers.engines.engine import Image
from workers.node.lock import NodeLock

NEVER = Event()
Start = Callable[..., CountingContainer]
# As root, some files with a mode, an owner and a time of their own; one of the image's is removed.
WRITE = """
import os
os.makedirs("/made/here")
with open("/made/here/file", "w") as file:
    file.write("kept")
os.chown("/made/here/file", 12, 34)
os.chmod("/made/here/file", 0o640)
os.utime("/made/here/file", (1_000_000_000, 1_000_000_000))
os.rmdir("/empty")
"""
SHOW = """
import os
status = os.stat("/made/here/file")
with open("/made/here/file") as file:
    print(file.read(), os.path.exists("/empty"))
print(status.st_uid, status.st_gid, oct(status.st_mode), int(status.st_mtime))
"""


@pytest.fixture
def engine(docker_settings: Settings) -> DockerEngine:
    """The engine, of a daemon that makes checkpoints."""
    return DockerEngine(docker_settings)


def freeze_and_store(engine: DockerEngine, counting: CountingContainer, lock: NodeLock) -> Image:
    """Freeze a container and store its image."""
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    return engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)


def restore(engine: DockerEngine, image: Image, counting: CountingContainer, lock: NodeLock) -> None:
    """Restore it and let it run."""
    held = engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    counting.moved_to(held)
    engine.permit(held)


def test_what_a_container_wrote_beside_its_volumes_comes_back(
    engine: DockerEngine, a_counting_container: Start, lock: NodeLock
) -> None:
    """With its owners, modes and times; and what it removed of its image stays removed."""
    counting = a_counting_container()
    python = counting.argv[0]
    counting.exec(python, "-c", WRITE)
    image = freeze_and_store(engine, counting, lock)
    engine.kill(counting.workload)

    restore(engine, image, counting, lock)

    assert counting.exec(python, "-c", SHOW).split() == ["kept", "False", "12", "34", "0o100640", "1000000000"]


def test_it_is_found_by_whatever_an_upstream_calls_it(
    engine: DockerEngine, a_counting_container: Start, lock: NodeLock
) -> None:
    """By its id, the short one, and its name: each is among what stands, for whoever compares them with rows."""
    counting = a_counting_container(options=("--network=none", "--name=by-name"))
    called = [counting.container, counting.container[:12], "by-name"]
    workloads = [msgspec.structs.replace(counting.workload, container=name) for name in called]

    engine.freeze(workloads[2], lock=lock, stop=NEVER)

    assert engine.standing(node="here") == workloads
    assert all(map(engine.is_standing, workloads))


@pytest.mark.parametrize("shown", [True, False])
def test_all_of_its_processes_are_found(
    engine: DockerEngine,
    a_counting_container: Start,
    lock: NodeLock,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    shown: bool,
) -> None:
    """What `docker exec` started in it too; also where the worker does not see the machine's cgroups."""
    if not shown:
        monkeypatch.setattr(cgroups, "MOUNT", tmp_path / "none")
    counting, other = a_counting_container(), a_counting_container()
    docker(
        counting.host, "exec", "--detach", counting.container, counting.argv[0], "-c", "import time; time.sleep(999)"
    )
    top = docker(counting.host, "top", counting.container, "-o", "pid").stdout.split()[1:]
    assert len(top) == 3

    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    container = Daemon().expect(counting.container)

    assert sorted(process.pid for process in container.processes()) == sorted(map(int, top))
    assert other.pid not in {process.pid for process in container.processes()}


@pytest.mark.parametrize("mark", [{"another": "1"}, {"checkpoint.workload": "1"}])
def test_a_foreign_container_with_the_name_of_a_restore_is_never_touched(
    engine: DockerEngine, a_counting_container: Start, lock: NodeLock, mark: dict[str, str]
) -> None:
    """Neither taken for the restored one, nor removed; the restore fails and says whose name it is."""
    counting, foreign = a_counting_container(), a_counting_container(mark=mark)
    docker(foreign.host, "rename", foreign.container, "checkpoint-17-2")
    image = freeze_and_store(engine, counting, lock)

    with pytest.raises(EngineUnavailable, match="checkpoint-17-2"):
        engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    engine.clear("17-2", keep=None)

    foreign.assert_runs()


def test_what_another_system_restored_is_never_touched(
    engine: DockerEngine, docker_settings: Settings, a_counting_container: Start, lock: NodeLock, tmp_path: Path
) -> None:
    """Two systems that share a daemon count their checkpoints each for itself."""
    other = DockerEngine(docker_settings.model_copy(update={"work_folder": tmp_path / "another"}))
    theirs = a_counting_container()
    image = freeze_and_store(other, theirs, lock)
    other.kill(theirs.workload)
    restore(other, image, theirs, lock)

    engine.clear("17-2", keep=None)

    theirs.assert_runs()


def test_a_container_that_only_was_paused_is_not_ended_after_the_mode_has_changed(
    engine: DockerEngine, docker_settings: Settings, a_counting_container: Start, lock: NodeLock
) -> None:
    """The location says how it was frozen, not the setting."""
    counting = a_counting_container()
    image = freeze_and_store(DockerEngine(docker_settings.model_copy(update={"docker_mode": "pause"})), counting, lock)
    assert engine.leaves_standing(image.location)

    restore(engine, image, counting, lock)

    counting.assert_runs()


def test_a_folder_that_is_named_by_a_symbolic_link_is_mounted_again(
    engine: DockerEngine, a_counting_container: Start, lock: NodeLock, tmp_path: Path
) -> None:
    """CRIU itself follows none."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    binds = (f"--volume={tmp_path}/link:/one", f"--mount=type=bind,source={tmp_path}/link,target=/two")
    counting = a_counting_container(options=("--network=none", *binds))
    image = freeze_and_store(engine, counting, lock)
    engine.kill(counting.workload)
    assert session_members(counting.pid) == []

    restore(engine, image, counting, lock)

    counting.assert_runs()


# The client of Docker leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_daemon_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The node does not offer the engine then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnsupported, match="does not answer"):
        DockerEngine(Settings.model_validate({"image_store": tmp_path.as_uri()})).probe()
    gc.collect()

"""The engine `docker` with a real daemon: nothing runs while frozen or held, nothing is counted twice or left out."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.dockerd import CountingContainer, a_daemon, docker, why_not_docker
from workers.engines.docker import DockerEngine
from workers.node.lock import NodeLock

NEVER = Event()
Start = Callable[..., CountingContainer]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon of the tests' own; skipped where none can be."""
    if (why := why_not_docker()) is not None:
        pytest.skip(f"the engine docker does not work here: {why}")
    with a_daemon(tmp_path_factory.mktemp("docker")) as host:
        yield host


@pytest.fixture
def settings(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with folders of the test's own."""
    monkeypatch.setenv("DOCKER_HOST", host)
    return Settings.model_validate({"work_folder": tmp_path / "work", "image_store": (tmp_path / "images").as_uri()})


@pytest.fixture(params=["checkpoint", "pause"])
def engine(request: pytest.FixtureRequest, settings: Settings) -> DockerEngine:
    """The engine in each of its modes."""
    return DockerEngine(settings.model_copy(update={"docker_mode": request.param}))


@pytest.fixture
def start(host: str, tmp_path: Path) -> Iterator[Start]:
    """Start containers that count; they are removed after the test."""
    started: list[CountingContainer] = []

    def start(**how: str) -> CountingContainer:
        started.append(CountingContainer(host, tmp_path / f"counting-{len(started)}", **how))
        return started[-1]

    yield start
    for one in started:
        docker(host, "rm", "--force", one.container, check=False)


def test_a_frozen_container_stands_and_goes_on(engine: DockerEngine, start: Start, lock: NodeLock) -> None:
    """Each call may come twice; the agent finds it by whatever an upstream calls it."""
    engine.probe()
    counting = start()
    for _ in range(2):
        engine.freeze(counting.workload, lock=lock, stop=NEVER)
    counting.assert_stands()
    assert engine.is_standing(counting.workload)
    assert counting.workload in engine.standing(node="here")

    for _ in range(2):
        engine.thaw(counting.workload)
    counting.assert_runs()
    assert not engine.is_standing(counting.workload)
    assert engine.standing(node="here") == []


def test_it_stands_while_it_is_stored_and_goes_on_when_its_offer_is_refused(
    engine: DockerEngine, start: Start, lock: NodeLock, settings: Settings
) -> None:
    """As if nothing had been; the next time it is frozen and stored again."""
    counting = start()
    for epoch in (1, 2):
        engine.freeze(counting.workload, lock=lock, stop=NEVER)
        before = counting.sizes()
        image = engine.store(counting.workload, name=f"17-{epoch}", lock=lock, stop=NEVER)
        assert counting.sizes() == before
        assert counting.state() == "paused"
        engine.thaw(counting.workload)
        counting.assert_runs()
        engine.discard(image.location)
        assert left(settings) == []


def test_a_restored_container_is_held_until_it_is_permitted(
    engine: DockerEngine, start: Start, lock: NodeLock, settings: Settings
) -> None:
    """In another container, with what the first had written; and it is frozen and restored once more."""
    counting = start()
    for checkpoint in (17, 18):
        workload = counting.workload
        engine.freeze(workload, lock=lock, stop=NEVER)
        image = engine.store(workload, name=f"{checkpoint}-1", lock=lock, stop=NEVER)
        before = counting.sizes()
        if not engine.leaves_standing(image.location):
            engine.kill(workload)
            assert counting.state() == ""

        held = engine.restore(image, name=f"{checkpoint}-2", workload=workload, lock=lock, stop=NEVER)
        again = engine.restore(image, name=f"{checkpoint}-2", workload=workload, lock=lock, stop=NEVER)
        assert again == held
        counting.moved_to(held)

        counting.assert_stands()
        assert counting.sizes() == before
        assert engine.is_standing(held)
        assert held in engine.standing(node="here")
        assert counting.layer_file() == "kept\n"
        for _ in range(2):
            engine.permit(held)
        counting.assert_runs()
        engine.clear(f"{checkpoint}-2", keep=held)
        assert left(settings) == []
        counting.assert_runs()


def test_what_was_never_permitted_is_cleared(start: Start, lock: NodeLock, settings: Settings) -> None:
    """A later claim takes its place; in the end no container and no image is left."""
    engine = DockerEngine(settings)
    counting = start()
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    image = engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    engine.kill(counting.workload)
    first = engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    second = engine.restore(image, name="17-3", workload=counting.workload, lock=lock, stop=NEVER)

    assert (engine.is_standing(first), engine.is_standing(second)) == (False, True)
    for _ in range(2):
        engine.clear("17-3", keep=None)
    assert engine.standing(node="here") == []
    assert left(settings) == []


@pytest.mark.parametrize("label", ["", "checkpoint.workload=0", "workload=1"])
def test_what_is_not_marked_is_never_touched(engine: DockerEngine, start: Start, lock: NodeLock, label: str) -> None:
    """A forged message cannot freeze a database, nor end it."""
    counting = start(label=label)
    with pytest.raises(RunGone, match=r"checkpoint\.workload=1"):
        engine.freeze(counting.workload, lock=lock, stop=NEVER)
    with pytest.raises(RunGone):
        engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    engine.kill(counting.workload)
    engine.thaw(counting.workload)
    counting.assert_runs()


def test_a_foreign_container_with_the_name_of_a_restore_is_never_touched(
    start: Start, lock: NodeLock, settings: Settings, host: str
) -> None:
    """Neither taken for the restored one, nor removed; the restore fails and says whose name it is."""
    engine = DockerEngine(settings)
    counting, foreign = start(), start(label="")
    docker(host, "rename", foreign.container, "checkpoint-17-2")
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    image = engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    with pytest.raises(EngineUnavailable, match="no workload has the name checkpoint-17-2"):
        engine.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    engine.clear("17-2", keep=None)

    foreign.assert_runs()


def test_a_container_that_is_gone_is_said_to_be(engine: DockerEngine, lock: NodeLock) -> None:
    """As after a reboot; thaw, kill and permit have nothing left to do."""
    gone = Workload(EngineName.DOCKER, "here", container="never-was")
    with pytest.raises(RunGone, match="no container never-was"):
        engine.freeze(gone, lock=lock, stop=NEVER)
    engine.thaw(gone)
    engine.permit(gone)
    engine.kill(gone)
    assert not engine.is_standing(gone)


def test_a_revoked_checkpoint_pauses_nothing(engine: DockerEngine, start: Start, lock: NodeLock) -> None:
    """A wait that ended before the freeze leaves its container alone."""
    counting, revoked = start(), Event()
    revoked.set()
    with pytest.raises(EngineRevoked):
        engine.freeze(counting.workload, lock=lock, stop=revoked)
    counting.assert_runs()


def test_a_paused_container_is_not_ended_after_the_mode_has_changed(
    start: Start, lock: NodeLock, settings: Settings
) -> None:
    """The location says how it was frozen, not the setting."""
    paused = DockerEngine(settings.model_copy(update={"docker_mode": "pause"}))
    counting = start()
    paused.freeze(counting.workload, lock=lock, stop=NEVER)
    image = paused.store(counting.workload, name="17-1", lock=lock, stop=NEVER)

    now = DockerEngine(settings.model_copy(update={"docker_mode": "checkpoint"}))
    assert now.leaves_standing(image.location)
    held = now.restore(image, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    now.permit(held)
    counting.assert_runs()


# The client of Docker leaves the socket of a connection that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_daemon_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The node does not offer the engine then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnsupported, match="does not answer"):
        DockerEngine(Settings.model_validate({"image_store": tmp_path.as_uri()})).probe()
    gc.collect()


def left(settings: Settings) -> list[str]:
    """Return what lies in the folders of work and of images."""
    folders = [settings.work_folder, Path(settings.image_store.removeprefix("file://"))]
    return [path.name for folder in folders if folder.exists() for path in folder.iterdir()]

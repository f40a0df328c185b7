"""The engine `cri` with a real containerd and registry: nothing runs while frozen or held, nothing is counted twice."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from shared.settings import Settings
from tests.engines.containerd import Containerd, CountingPod, a_containerd, why_not_cri
from workers.engines.cri import CriEngine
from workers.node.lock import NodeLock

NEVER = Event()
Start = Callable[..., CountingPod]


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd of the tests' own; skipped where none can be."""
    if (why := why_not_cri()) is not None:
        pytest.skip(f"the engine cri does not work here: {why}")
    with a_containerd(tmp_path_factory.mktemp("cri")) as runtime:
        yield runtime


@pytest.fixture
def settings(tmp_path: Path, containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an engine with a work folder of the test's own."""
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", containerd.endpoint)
    return containerd.settings(tmp_path / "work")


@pytest.fixture
def engine(settings: Settings) -> CriEngine:
    """The engine."""
    return CriEngine(settings)


@pytest.fixture
def start(containerd: Containerd, tmp_path: Path) -> Iterator[Start]:
    """Start containers that count; all pods that there are then are removed after the test."""
    numbers = count()

    def start(**how: object) -> CountingPod:
        return CountingPod(containerd, tmp_path / f"counting-{next(numbers)}", **how)  # pyright: ignore[reportArgumentType]

    yield start
    containerd.remove_pods(*containerd.pods())


def test_a_restored_container_is_held_until_it_is_permitted(
    engine: CriEngine, start: Start, lock: NodeLock, settings: Settings, containerd: Containerd
) -> None:
    """In its own pod, with what it had written; and it is frozen and restored once more."""
    engine.probe()
    counting = start()
    pod = counting.pod
    (counting.root / "tmp" / "kept").write_text("kept")
    for checkpoint in (17, 18):
        workload = counting.workload
        engine.freeze(workload, lock=lock, stop=NEVER)
        counting.assert_stands()
        image = engine.store(workload, name=f"{checkpoint}-1", lock=lock, stop=NEVER)
        counting.assert_stands()
        before = counting.counts()
        engine.kill(workload)
        assert containerd.containers() == []

        held = engine.restore(image, name=f"{checkpoint}-2", workload=workload, lock=lock, stop=NEVER)
        again = engine.restore(image, name=f"{checkpoint}-2", workload=workload, lock=lock, stop=NEVER)
        assert again == held
        counting.moved_to(held)
        assert counting.pod == pod

        counting.assert_stands()
        assert counting.counts() == before
        assert engine.is_standing(held)
        assert held in engine.standing(node="here")
        assert (counting.root / "tmp" / "kept").read_text() == "kept"
        for _ in range(2):
            engine.permit(held)
        counting.assert_runs()
        engine.clear(f"{checkpoint}-2", keep=held)
        assert left(settings, containerd) == []
        counting.assert_runs()


def left(settings: Settings, containerd: Containerd) -> list[str]:
    """Return what lies in the work folder, and the tags of images in the registry."""
    folder = settings.work_folder
    files = [path.name for path in folder.iterdir()] if folder.exists() else []
    return files + [tag for id_ in (17, 18) for tag in containerd.registry.tags(f"images/checkpoint-{id_}")]

"""The engines that the conformance suite is run with, and workloads for them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import pytest

from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.criu import criu_path, stored_in, why_not_criu
from tests.engines.containerd import Containerd
from tests.engines.counting import MARK, CountingProcess
from tests.engines.dockerd import LABEL, CountingContainer, containers, dumps_kept, remove_containers
from tests.engines.pods import LABEL as POD_LABEL
from tests.engines.pods import CountingPod, what_is_left
from workers.engines.cri import CriEngine
from workers.engines.docker import DockerEngine
from workers.engines.engine import Engine, Image
from workers.engines.process import ProcessEngine
from workers.engines.simulate import Simulate
from workers.node.lock import NodeLock, node_lock

SECONDS = 60.0
Counted = CountingProcess | CountingContainer | CountingPod

StartPod = Callable[..., CountingPod]


@dataclass(frozen=True)
class EngineCase:
    """One engine under the conformance suite.

    Attributes:
        engine: The engine itself.
        start: Starts a counting workload that it can freeze, marked unless told otherwise.
        start_again: Starts one that is called what an earlier one was called, and returns it with that one's workload.
        left: Returns the names of what it keeps here and in its store.
        mark: What makes something a workload.
    """

    engine: Engine
    start: Callable[..., Counted]
    start_again: Callable[[], tuple[Counted, Workload]]
    left: Callable[[], list[str]]
    mark: dict[str, str]

    def kill(self, image: Image, workload: Workload) -> None:
        """Kill what was stored, unless the engine leaves it standing."""
        if not self.engine.leaves_standing(image.location):
            self.engine.kill(workload)


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[NodeLock]:
    """The run's lock on this node, held."""
    with node_lock(tmp_path / "locks", "run_1") as held:
        assert held is not None
        yield held


@pytest.fixture
def a_counting_process(tmp_path: Path) -> Iterator[Callable[..., CountingProcess]]:
    """Start processes that count; they are ended after the test."""
    started: list[CountingProcess] = []

    def start(*, mark: dict[str, str] = MARK, **where: object) -> CountingProcess:
        process = CountingProcess(tmp_path / f"counting-{len(started)}", mark, **where)  # pyright: ignore[reportArgumentType]
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()


@pytest.fixture
def process_settings(tmp_path: Path) -> Settings:
    """Settings of the engine `process`, with folders of the test's own; skipped where CRIU does not work."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    return Settings.model_validate(
        {
            "criu_path": criu_path(),
            "work_folder": tmp_path / "work",
            "image_store": (tmp_path / "images").as_uri(),
            "engine_timeout_ms": SECONDS * 1000,
        }
    )


def process_case(settings: Settings, start: Callable[..., CountingProcess], **where: object) -> EngineCase:
    """`process`: a killed workload is gone, and restored from its image."""
    start = partial(start, engine=EngineName.PROCESS, **where)
    again = partial(a_pid_again, start)
    return EngineCase(ProcessEngine(settings), start, again, partial(stored_in, settings), MARK)


def a_pid_again(start: Callable[..., CountingProcess]) -> tuple[CountingProcess, Workload]:
    """Return a process, and what an upstream said of an earlier one that had its pid."""
    counting = start()
    assert counting.workload.started_at_ticks is not None
    return counting, msgspec.structs.replace(counting.workload, started_at_ticks=counting.workload.started_at_ticks - 1)


@pytest.fixture
def docker_settings(tmp_path: Path, docker_host: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of the engine `docker`, with folders of the test's own."""
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    return Settings.model_validate({"work_folder": tmp_path / "work", "image_store": (tmp_path / "images").as_uri()})


@pytest.fixture
def a_counting_container(tmp_path: Path, docker_host: str) -> Iterator[Callable[..., CountingContainer]]:
    """Start containers that count; all that there are then are removed after the test."""
    numbers = count()

    def start(*, mark: dict[str, str] = LABEL, options: tuple[str, ...] = ()) -> CountingContainer:
        return CountingContainer(docker_host, tmp_path / f"counting-{next(numbers)}", mark, options=options)

    yield start
    remove_containers(docker_host)


def docker_case(settings: Settings, start: Callable[..., CountingContainer], *, mode: str, host: str) -> EngineCase:
    """`docker`: a killed container is gone, and restored into a new one; or it was paused only."""

    def again() -> tuple[CountingContainer, Workload]:
        named = partial(start, options=("--network=none", "--name=again"))
        earlier = named()
        earlier.end()
        return named(), earlier.workload

    engine = DockerEngine(settings.model_copy(update={"docker_mode": mode}))

    def runs(container: str) -> bool:
        workload = Workload(EngineName.DOCKER, "here", container=container)
        return container in containers(host, "status=running") and not engine.is_standing(workload)

    def left() -> list[str]:
        restored = [name for name in containers(host, "name=^/checkpoint-") if not runs(name)]
        return [*stored_in(settings), *restored, *dumps_kept(host)]

    return EngineCase(engine, start, again, left, LABEL)


def cri_case(settings: Settings, start: StartPod, runtime: Containerd) -> EngineCase:
    """`cri`: a killed container is gone, and restored from an image of a registry; an id names no other container."""
    engine = CriEngine(settings)

    def again() -> tuple[CountingPod, Workload]:
        earlier = start()
        earlier.end()
        return start(), earlier.workload

    def runs(container: str) -> bool:
        workload = Workload(EngineName.CRI, "here", container=container)
        return container in runtime.running() and not engine.is_standing(workload)

    def left() -> list[str]:
        restored = [container for container in runtime.restored() if not runs(container)]
        return [*what_is_left(settings, runtime), *restored]

    return EngineCase(engine, start, again, left, POD_LABEL)


ENGINES = ["simulate", "process", "process in a pid namespace", "docker", "docker that pauses", "cri"]


@pytest.fixture(params=ENGINES)
def engine_case(request: pytest.FixtureRequest) -> EngineCase:
    """Each engine that this project has, one after the other."""
    get = request.getfixturevalue
    match request.param:
        case "simulate":
            start = get("a_counting_process")
            return EngineCase(Simulate([], seconds=SECONDS), start, partial(a_pid_again, start), list, MARK)
        case "process":
            return process_case(get("process_settings"), get("a_counting_process"), pids="shared")
        case "process in a pid namespace":
            return process_case(get("process_settings"), get("a_counting_process"), pids="own")
        case "cri":
            return cri_case(get("cri_settings"), get("start_pod"), get("containerd"))
        case other:
            mode = "checkpoint" if other == "docker" else "pause"
            return docker_case(get("docker_settings"), get("a_counting_container"), mode=mode, host=get("docker_host"))


@dataclass(frozen=True)
class Frozen:
    """A counting workload whose image was stored and that was killed then, as an accepted checkpoint's is.

    Attributes:
        counting: The workload.
        workload: What it was called.
        image: What was stored.
    pids: The pid or thread id that each of its counters had, if they were asked for.
    """

    counting: Counted
    workload: Workload
    image: Image
    pids: Mapping[str, int] = field(default_factory=dict[str, int])


Criu = Callable[..., Engine]


@pytest.fixture
def process_engine(process_settings: Settings, a_counting_process: Callable[..., CountingProcess]) -> EngineCase:
    """`process` alone, and workloads that share our pids."""
    return process_case(process_settings, a_counting_process)


@pytest.fixture
def a_criu(process_settings: Settings, tmp_path: Path) -> Criu:
    """Put a shell script in criu's place, which may call the real one as `"$CRIU"`; returns an engine with it."""

    def make(script: str, **settings: object) -> Engine:
        path = tmp_path / "criu"
        path.write_text(f'#!/bin/sh\nCRIU="{process_settings.criu_path}"\n{script}\n')
        path.chmod(0o755)
        return ProcessEngine(process_settings.model_copy(update={"criu_path": str(path), **settings}))

    return make


Logged = Callable[..., tuple[str, Path]]


@pytest.fixture
def cri_settings(tmp_path: Path, containerd: Containerd, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an engine with a work folder of the test's own."""
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", containerd.endpoint)
    return containerd.settings(tmp_path / "work")


@pytest.fixture
def cri_engine(cri_settings: Settings) -> CriEngine:
    """The engine."""
    return CriEngine(cri_settings)


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """Put a script before a program that writes down how it is called; returns its path and what it has written."""

    def make(program: str, script: str = "") -> tuple[str, Path]:
        path, log = tmp_path / Path(program).name, tmp_path / f"{Path(program).name}.log"
        log.touch()
        path.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{script}\nexec {program} "$@"\n')
        path.chmod(0o755)
        return str(path), log

    return make


@pytest.fixture
def start_pod(containerd: Containerd, tmp_path: Path) -> Iterator[StartPod]:
    """Start containers that count; all pods that there are then are removed after the test."""
    numbers = count()

    def start(**how: object) -> CountingPod:
        return CountingPod(containerd, tmp_path / f"counting-{next(numbers)}", **how)  # pyright: ignore[reportArgumentType]

    yield start
    containerd.remove_pods(*containerd.pods())

"""The engines that the conformance suite is run with, and workloads for them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.counting import MARK, CountingProcess
from workers.engines.engine import Engine
from workers.engines.simulate import Simulate
from workers.node.lock import NodeLock, node_lock

SECONDS = 60.0


@dataclass(frozen=True)
class EngineCase:
    """One engine under the conformance suite.

    Attributes:
        engine: The engine itself.
        start: Starts a counting workload that it can freeze, marked unless told otherwise.
    """

    engine: Engine
    start: Callable[..., CountingProcess]


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

    def start(*, mark: dict[str, str] = MARK) -> CountingProcess:
        process = CountingProcess(tmp_path / f"counting-{len(started)}", mark)
        started.append(process)
        process.wait_started()
        return process

    yield start
    for process in started:
        process.end()


@pytest.fixture(params=["simulate"])
def engine_case(a_counting_process: Callable[..., CountingProcess]) -> EngineCase:
    """Each engine that this project has, one after the other."""
    return EngineCase(Simulate([], seconds=SECONDS), a_counting_process)

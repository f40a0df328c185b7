"""What becomes of the TCP connections of a pod: kept when its checkpoint is refused, closed by its restore."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnsupported
from shared.settings import Settings
from tests.engines.connected import ConnectedPod
from tests.engines.containerd import Containerd
from workers.engines.cri import CriEngine
from workers.node.lock import NodeLock

NEVER = Event()


@pytest.fixture
def engine(cri_settings: Settings) -> CriEngine:
    """The engine; the runtime's criu is told nothing of connections."""
    return CriEngine(cri_settings)


@pytest.fixture
def closing(engine: CriEngine, containerd: Containerd) -> Iterator[CriEngine]:
    """The engine; the runtime's criu closes connections."""
    options = containerd.criu_options
    options.write_text("tcp-close\n")
    yield engine
    options.unlink()


@pytest.fixture
def connected(containerd: Containerd, database_url: str, tmp_path: Path) -> Iterator[ConnectedPod]:
    """A container with connections to Redis and to Postgres, in a thread and a child too."""
    broker_url = os.environ["TESTS_BROKER_URL"]
    run = ConnectedPod(containerd, tmp_path / "run", database_url=database_url, broker_url=broker_url)
    yield run
    run.end()


def test_connections_of_a_container_go_on_after_a_refused_checkpoint(
    closing: CriEngine, connected: ConnectedPod, lock: NodeLock
) -> None:
    """Neither server notices that its client was dumped."""
    before = connected.connections()
    closing.freeze(connected.workload, lock=lock, stop=NEVER)
    closing.store(connected.workload, name="17-1", lock=lock, stop=NEVER)

    closing.thaw(connected.workload)

    assert connected.connections() == before


def test_a_restored_container_finds_its_connections_closed_and_connects_again(
    closing: CriEngine, connected: ConnectedPod, lock: NodeLock
) -> None:
    """It goes on as after any lost connection; what was asked is asked again, and nothing is left out."""
    before, workload = connected.connections(), connected.workload
    closing.freeze(workload, lock=lock, stop=NEVER)
    image = closing.store(workload, name="17-1", lock=lock, stop=NEVER)
    closing.kill(workload)

    held = closing.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER)
    connected.moved_to(held)
    closing.permit(held)

    after = connected.connections()
    assert all(after[name] != id_ for name, id_ in before.items())


def test_a_criu_that_is_not_told_what_to_do_with_connections_is_said_to_need_that(
    engine: CriEngine, connected: ConnectedPod, lock: NodeLock
) -> None:
    """Only the operator can tell it: the runtime calls it. The container goes on as if nothing had been."""
    before = connected.connections()
    engine.freeze(connected.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnsupported, match=r"write tcp-close into /etc/criu/runc\.conf.*Connected TCP socket"):
        engine.store(connected.workload, name="17-1", lock=lock, stop=NEVER)

    engine.thaw(connected.workload)
    assert connected.connections() == before

"""What becomes of the TCP connections of a container: kept when its checkpoint is refused, closed by its restore."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnsupported
from shared.settings import Settings
from tests.engines.connected import ConnectedContainer
from tests.engines.dockerd import criu_options
from workers.engines.docker import DockerEngine
from workers.node.lock import NodeLock

NEVER = Event()


@pytest.fixture
def engine(docker_settings: Settings) -> DockerEngine:
    """The engine; its daemon's criu is told nothing of connections."""
    return DockerEngine(docker_settings)


@pytest.fixture
def closing(engine: DockerEngine, docker_host: str) -> Iterator[DockerEngine]:
    """The engine; its daemon's criu closes connections."""
    options = criu_options(docker_host)
    options.write_text("tcp-close\n")
    yield engine
    options.unlink()


@pytest.fixture
def connected(docker_host: str, database_url: str, tmp_path: Path) -> Iterator[ConnectedContainer]:
    """A container with connections to Redis and to Postgres, in a thread and a child too."""
    broker_url = os.environ["TESTS_BROKER_URL"]
    run = ConnectedContainer(docker_host, tmp_path / "run", database_url=database_url, broker_url=broker_url)
    yield run
    run.end()


def test_connections_of_a_container_go_on_after_a_refused_checkpoint(
    closing: DockerEngine, connected: ConnectedContainer, lock: NodeLock
) -> None:
    """Neither server notices that its client was dumped."""
    before = connected.connections()
    closing.freeze(connected.workload, lock=lock, stop=NEVER)
    closing.store(connected.workload, name="17-1", lock=lock, stop=NEVER)

    closing.thaw(connected.workload)

    assert connected.connections() == before


def test_a_restored_container_finds_its_connections_closed_and_connects_again(
    closing: DockerEngine, connected: ConnectedContainer, lock: NodeLock
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
    engine: DockerEngine, connected: ConnectedContainer, lock: NodeLock
) -> None:
    """Only the operator can tell it: the daemon calls it. The container goes on as if nothing had been."""
    before = connected.connections()
    engine.freeze(connected.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnsupported, match=r"write tcp-close into /etc/criu/runc\.conf.*Connected TCP socket"):
        engine.store(connected.workload, name="17-1", lock=lock, stop=NEVER)

    engine.thaw(connected.workload)
    assert connected.connections() == before

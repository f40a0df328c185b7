"""What becomes of a run's TCP connections: kept when its checkpoint is refused, closed or taken up by its restore."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.messages import Workload
from shared.settings import Settings
from tests.engines.connected import ConnectedRun, ListeningRun
from tests.waiting import wait_until
from workers.engines.engine import Image
from workers.engines.process import ProcessEngine
from workers.node.lock import NodeLock

NEVER = Event()


@pytest.fixture(params=["close", "established"])
def engine(process_settings: Settings, request: pytest.FixtureRequest) -> ProcessEngine:
    """The engine with each of its ways."""
    return ProcessEngine(process_settings.model_copy(update={"process_tcp": request.param}))


@pytest.fixture
def keeping(process_settings: Settings) -> ProcessEngine:
    """The engine that keeps connections."""
    return ProcessEngine(process_settings.model_copy(update={"process_tcp": "established"}))


@pytest.fixture
def a_connected_run(tmp_path: Path, database_url: str) -> Iterator[ConnectedRun]:
    """A run with a connection to Redis and one to Postgres."""
    run = ConnectedRun(tmp_path / "run", database_url=database_url, broker_url=os.environ["TESTS_BROKER_URL"])
    yield run
    run.end()


@pytest.fixture
def a_listening_run(tmp_path: Path) -> Iterator[tuple[ListeningRun, socket.socket]]:
    """A run that waits for us to say something, and our side of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = ListeningRun(tmp_path / "run", port=server.getsockname()[1])
        ours, _ = server.accept()
    with ours:
        yield run, ours
        run.end()


def freeze_and_store(engine: ProcessEngine, workload: Workload, lock: NodeLock) -> Image:
    """Freeze a workload and store its image."""
    engine.freeze(workload, lock=lock, stop=NEVER)
    return engine.store(workload, name="17-1", lock=lock, stop=NEVER)


def restore(engine: ProcessEngine, image: Image, workload: Workload, lock: NodeLock) -> None:
    """Restore it and let it run."""
    engine.permit(engine.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER))


def test_connections_go_on_after_a_refused_checkpoint(
    engine: ProcessEngine, a_connected_run: ConnectedRun, lock: NodeLock
) -> None:
    """Neither server notices that its client was dumped."""
    before = a_connected_run.connections()
    freeze_and_store(engine, a_connected_run.workload, lock)

    engine.thaw(a_connected_run.workload)

    assert a_connected_run.connections() == before


def test_a_restored_run_finds_its_connections_closed_and_connects_again(
    process_settings: Settings, a_connected_run: ConnectedRun, lock: NodeLock
) -> None:
    """It goes on as after any lost connection."""
    engine, workload, before = ProcessEngine(process_settings), a_connected_run.workload, a_connected_run.connections()
    image = freeze_and_store(engine, workload, lock)
    engine.kill(workload)

    restore(engine, image, workload, lock)

    after = a_connected_run.connections()
    assert all(after[name] != id_ for name, id_ in before.items())


def test_a_restored_run_takes_its_connections_up_again(
    keeping: ProcessEngine, a_connected_run: ConnectedRun, lock: NodeLock
) -> None:
    """Both servers take it for the client that it was; nothing is left behind on the node."""
    workload, before = a_connected_run.workload, a_connected_run.connections()
    image = freeze_and_store(keeping, workload, lock)
    keeping.kill(workload)

    restore(keeping, image, workload, lock)

    assert a_connected_run.connections() == before


def test_what_is_said_before_the_freeze_is_heard_after_the_restore(
    keeping: ProcessEngine, a_listening_run: tuple[ListeningRun, socket.socket], lock: NodeLock
) -> None:
    """It lies in the dump, and the connection goes on behind it."""
    run, ours = a_listening_run
    workload = run.workload
    keeping.freeze(workload, lock=lock, stop=NEVER)
    ours.sendall(b"one\n")
    image = keeping.store(workload, name="17-1", lock=lock, stop=NEVER)
    keeping.kill(workload)

    restore(keeping, image, workload, lock)
    ours.sendall(b"two\n")

    wait_until(lambda: "two" in run.heard())
    assert run.heard() == ["connected", "one", "two"]


@pytest.mark.parametrize("when", ["before the kill", "while it is frozen away"])
def test_a_connection_on_which_something_came_in_meanwhile_is_closed(
    keeping: ProcessEngine, a_listening_run: tuple[ListeningRun, socket.socket], lock: NodeLock, when: str
) -> None:
    """Acknowledged to its peer and not in the dump, it would be lost, and both would wait for ever."""
    run, ours = a_listening_run
    workload = run.workload
    image = freeze_and_store(keeping, workload, lock)
    if when == "before the kill":
        ours.sendall(b"one\n")
    keeping.kill(workload)
    if when == "while it is frozen away":
        ours.sendall(b"one\n")

    restore(keeping, image, workload, lock)

    wait_until(lambda: run.heard()[-1] == "closed")
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        hear(ours)


def hear(ours: socket.socket) -> None:
    """Learn what became of our side: its end is an error too."""
    ours.settimeout(20)
    if not ours.recv(1):
        raise ConnectionResetError("reset")

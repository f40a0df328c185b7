"""A running Flower that hears running workers, and the queues of the test."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flower_process import PASSWORD, USER, Flower
from letterbox import Letterbox
from system import System, environment_of
from waiting import wait_until

from shared.broker import Keys
from shared.connections import Connections
from shared.settings import Settings
from workers.cli.kinds import WorkerKind
from workers.cli.servers import free_port

READY_SECONDS = 60


@pytest.fixture
def letterbox(connections: Connections, keys: Keys) -> Letterbox:
    """The queues of the test."""
    return Letterbox(connections.redis, keys)


@pytest.fixture
def flower(settings: Settings, tmp_path: Path) -> Iterator[Flower]:
    """A Flower that listens."""
    port = free_port()
    log = tmp_path / "flower.log"
    url = f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli.main", "worker", "flower"],
            env=environment_of(settings) | {"CHECKPOINT_FLOWER_URL": url},
            stdout=out,
            stderr=out,
        )
    one = Flower(process, port, log)
    wait_until(lambda: one.status("/healthcheck") == 200 or process.poll() is not None, seconds=READY_SECONDS)
    assert process.poll() is None, log.read_text()
    yield one
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture
def watched(system: System, flower: Flower) -> System:
    """Running workers whose events Flower hears."""
    system.start()
    kinds = (WorkerKind.CHECKPOINT, WorkerKind.RESUME)
    names = {f"{kind}.{process.pid}@{system.settings.node}" for kind in kinds for process in system.processes(kind)}
    wait_until(lambda: names <= flower.hears(), seconds=READY_SECONDS)
    return system

"""A Redis, settings with a prefix of the test's own, and real Celery workers on it."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from waiting import wait_until

from shared.broker import Keys, connect
from shared.settings import Settings
from workers.cli.redis_server import redis_server
from workers.cli.servers import EmbeddedServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for all tests that do not harm it."""
    server = redis_server(tmp_path_factory.mktemp("redis"), fast=True)
    server.start()
    server.wait_ready()
    yield server.url
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Redis that the test may kill, fill and empty."""
    server = redis_server(tmp_path / "redis", fast=True)
    server.start()
    server.wait_ready()
    yield server
    server.stop()


def settings_for(url: str, *, transport: str = "deferred") -> Settings:
    """Return settings with a prefix that no other test has."""
    return Settings.model_validate(
        {"broker_url": SecretStr(url), "key_prefix": f"{uuid.uuid4().hex}:", "transport": transport}
    )


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """Settings on the shared Redis."""
    return settings_for(redis_url)


@pytest.fixture
def redis_client(settings: Settings) -> Iterator[Redis]:
    """A client for the test's Redis."""
    with connect(settings) as client:
        yield client


@pytest.fixture
def keys(settings: Settings) -> Keys:
    """The names of the test's keys."""
    return Keys(settings.key_prefix)


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker in a process of its own, with the tasks of `worker_of_tests`."""

    process: subprocess.Popen[bytes]
    log: Path

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process.poll() is None

    def has_logged(self, text: str) -> bool:
        """Tell whether the worker has said something."""
        return text in self.log.read_text()

    def stop(self) -> None:
        """End the worker, at once and without its help."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers on the queue `work`; they are killed at the end."""
    workers: list[Worker] = []

    def start(settings: Settings, *, ready: bool = True) -> Worker:
        log = tmp_path / f"worker-{len(workers)}.log"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}",
            "CHECKPOINT_BROKER_URL": settings.broker_url.get_secret_value(),
            "CHECKPOINT_KEY_PREFIX": settings.key_prefix,
            "CHECKPOINT_TRANSPORT": settings.transport,
        }
        argv = [sys.executable, "-m", "celery", "-A", "worker_of_tests", "worker", "-P", "threads", "-c", "2"]
        argv += ["-Q", "work", "-n", f"{uuid.uuid4().hex}@test", "--loglevel", "INFO"]
        with log.open("wb") as output:
            process = subprocess.Popen(argv, env=environment, cwd=tmp_path, stdout=output, stderr=output)
        worker = Worker(process, log)
        workers.append(worker)
        if ready:
            wait_until(lambda: worker.has_logged(" ready.") or not worker.is_alive(), seconds=60)
            assert worker.is_alive(), log.read_text()
        return worker

    yield start
    for worker in workers:
        worker.stop()

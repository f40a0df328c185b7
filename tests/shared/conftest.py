"""A Redis, settings with a prefix of the test's own, and real Celery workers on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery_scene import Scene, StartWorker, Worker, settings_for, start_worker_process, wait_ready
from redis import Redis

from shared.broker import Keys, connect
from shared.settings import Settings
from workers.cli.redis_server import redis_server
from workers.cli.servers import EmbeddedServer


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


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Start workers on the queue `work`; they are killed at the end."""
    workers: list[Worker] = []

    def start(settings: Settings, *, ready: bool = True) -> Worker:
        worker = start_worker_process(settings, tmp_path)
        workers.append(worker)
        if ready:
            wait_ready(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def scene(settings: Settings, redis_client: Redis) -> Scene:
    """The shared Redis, under the test's own prefix."""
    return Scene(redis_client, settings)


@pytest.fixture
def own_scene(own_redis: EmbeddedServer) -> Iterator[Scene]:
    """A Redis of the test's own."""
    settings = settings_for(own_redis.url)
    with connect(settings) as client:
        yield Scene(client, settings)

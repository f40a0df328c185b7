"""Real servers for a whole run; a database, a Redis key prefix and a node of its own for every test."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString, cast
from uuid import uuid4

import psycopg
import pytest
from redis import Redis
from runs import Run
from servers import Servers, start_servers
from system import System
from upstream import Upstream

from shared.broker import Keys, run
from shared.client import Checkpoints
from shared.connections import Connections
from shared.db.migrate import migrate
from shared.settings import Settings
from tests.engines.containerd import Containerd, a_containerd, why_not_cri
from tests.engines.dockerd import a_daemon, why_not_docker
from workers.node.agent import be_seen
from workers.node.node import Node

TEMPLATE = "template_of_tests"
DATABASE, BROKER = "TESTS_DATABASE_URL", "TESTS_BROKER_URL"
_started: list[tuple[Servers, Path]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, in the process that hands tests out; the others get their addresses."""
    # Under nohup it is ignored, also by all that tests start.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if hasattr(config, "workerinput") or DATABASE in os.environ:
        return
    folder = Path(tempfile.mkdtemp(prefix="checkpoints-tests-"))
    servers = start_servers(folder)
    _started.append((servers, folder))
    os.environ[DATABASE], os.environ[BROKER] = servers.database_url, servers.broker_url
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute(_sql(f"CREATE DATABASE {TEMPLATE}"))
    migrate(_on(TEMPLATE))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    _ = config
    while _started:
        servers, folder = _started.pop()
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url() -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(os.environ[DATABASE], autocommit=True) as conn:
        conn.execute(_sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    yield _on(name)
    with psycopg.connect(os.environ[DATABASE], autocommit=True) as conn:
        conn.execute(_sql(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of the test's own system: short periods, so that nothing is waited for long."""
    unique = uuid4().hex[:12]
    return Settings.model_validate(
        {
            "database_url": database_url,
            "broker_url": os.environ[BROKER],
            "node": f"node-{unique}",
            "key_prefix": f"{unique}:",
            "lock_folder": tmp_path / "locks",
            "health_folder": tmp_path / "health",
            "work_folder": tmp_path / "work",
            "image_store": (tmp_path / "images").as_uri(),
            "sweep_period_ms": 200,
            "take_grace_ms": 500,
            "resend_first_ms": 1_000,
            "resend_max_ms": 2_000,
            "agent_period_ms": 300,
            "node_silent_ms": 60_000,  # a node by hand has no agent, and tests share a busy machine
            "lease_ms": 2_000,
            "retry_base_ms": 300,
            "duration_threshold_ms": 500,
        }
    )


@pytest.fixture
def connections(settings: Settings) -> Iterator[Connections]:
    """Connections for a test that calls a story itself."""
    at = Connections.open(settings, name="test", size=16)
    yield at
    [found] = run(at.redis, ("KEYS", f"{settings.key_prefix}*"))
    keys = cast("list[bytes]", found)
    if keys:
        at.redis.delete(*keys)
    at.close()


@pytest.fixture
def redis_client(connections: Connections) -> Redis:
    """A client for the test's Redis."""
    return connections.redis


@pytest.fixture
def keys(settings: Settings) -> Keys:
    """The names of the test's keys."""
    return Keys(settings.key_prefix)


@pytest.fixture
def node(connections: Connections) -> Node:
    """This machine as the test's node, seen just now."""
    here = Node(connections)
    be_seen(here)
    return here


@pytest.fixture
def client(settings: Settings, node: Node) -> Iterator[Checkpoints]:
    """An upstream's client with a database, of a node that was seen."""
    _ = node
    with Checkpoints(settings) as one:
        yield one


@pytest.fixture
def upstream(settings: Settings) -> Iterator[Upstream]:
    """A platform in miniature: starts runs, hears their continuations, lets them go on once."""
    one = Upstream(settings)
    yield one
    one.close()


@pytest.fixture
def a_run(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], Run]]:
    """Start real processes that count, marked as workloads of the test's node; they are ended with the test."""
    runs: list[Run] = []

    def start() -> Run:
        run = Run(tmp_path / f"run-{len(runs)}", node=settings.node)
        runs.append(run)
        return run

    yield start
    for one in runs:
        one.end()


@pytest.fixture
def system(settings: Settings, tmp_path: Path) -> Iterator[System]:
    """The worker processes of the Procfile, not started yet; they are killed with the test."""
    one = System(settings, tmp_path / "logs")
    yield one
    one.kill_all()


@pytest.fixture(scope="session")
def docker_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DOCKER_HOST of a daemon of these tests' own; skipped where none can be."""
    if (why := why_not_docker()) is not None:
        pytest.skip(f"the engine docker does not work here: {why}")
    with a_daemon(tmp_path_factory.mktemp("docker")) as host:
        yield host


@pytest.fixture(scope="session")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    """A containerd of the tests' own; skipped where none can be."""
    if (why := why_not_cri()) is not None:
        pytest.skip(f"the engine cri does not work here: {why}")
    with a_containerd(tmp_path_factory.mktemp("cri")) as runtime:
        yield runtime


def _on(database: str) -> str:
    return os.environ[DATABASE].rpartition("/")[0] + f"/{database}"


def _sql(text: str) -> LiteralString:
    # Names of databases cannot be parameters; these are made here, of hexadecimal digits.
    return cast("LiteralString", text)

"""Servers that a test may kill, workers on them, and the command as an orchestrator runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from servers import Servers, start_servers

from shared.db.migrate import migrate
from shared.settings import Settings
from workers.cli.kinds import WorkerKind


@dataclass(frozen=True, slots=True)
class Health:
    """What `checkpoints health --json` says."""

    code: int
    told: dict[str, Any]

    @property
    def problems(self) -> str:
        """All that is said to be wrong."""
        of_workers = [problem for one in self.told["workers"] for problem in one["problems"]]
        return "\n".join([*([self.told["problem"]] if self.told["problem"] else []), *of_workers])


AskHealth = Callable[..., Health]


@pytest.fixture
def ask(settings: Settings) -> AskHealth:
    """Ask the command; it gets nothing but the folder."""

    def health(kind: WorkerKind, *options: str) -> Health:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CHECKPOINT_")}
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli.main", "health", "--worker", kind, "--json", *options],
            env=environment | {"CHECKPOINT_HEALTH_FOLDER": str(settings.health_folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        return Health(done.returncode, json.loads(done.stdout))

    return health


@pytest.fixture
def own_servers(tmp_path: Path) -> Iterator[Servers]:
    """A Postgres and a Redis of the test's own."""
    servers = start_servers(tmp_path / "servers")
    migrate(servers.database_url)
    yield servers
    servers.stop()


@pytest.fixture
def on_own_servers(settings: Settings, own_servers: Servers) -> Settings:
    """Settings on those servers."""
    return settings.model_copy(
        update={
            "database_url": SecretStr(own_servers.database_url),
            "broker_url": SecretStr(own_servers.broker_url),
        }
    )

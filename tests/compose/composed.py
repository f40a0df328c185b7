"""The system of docker-compose.yml, as tests start, look at, kill and scale it."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPBasicAuthHandler as BasicAuth
from urllib.request import HTTPPasswordMgrWithDefaultRealm, ProxyHandler, build_opener

from workers.cli.kinds import WorkerKind

ROOT: Final = Path(__file__).parents[2]
FILES: Final = ("docker-compose.yml", "tests/compose/override.yml")
SERVERS: Final = ("postgres", "redis")
WORKERS: Final = tuple(str(kind) for kind in WorkerKind)
# What the checkpoint worker is called, in messages and by the demo.
NODE: Final = "composed"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the daemon knows it."""

    service: str
    details: dict[str, Any]

    @property
    def id(self) -> str:
        """Its id."""
        return self.details["Id"]

    @property
    def pid(self) -> int:
        """Its first process, as the host numbers it."""
        return self.details["State"]["Pid"]

    @property
    def health(self) -> str:
        """`starting`, `healthy`, `unhealthy`, or `none` without a check."""
        return self.details["State"].get("Health", {"Status": "none"})["Status"]

    @property
    def end(self) -> tuple[str, int]:
        """Its status and exit code."""
        state = self.details["State"]
        return state["Status"], state["ExitCode"]

    @property
    def restarts(self) -> int:
        """How often it was started again by itself."""
        return self.details["RestartCount"]


class Composed:
    """One project of docker-compose.yml.

    Args:
        name: Of the project.
        secrets: The folder of its secrets.
        port: Where the host has Flower.
        environment: In which `docker` finds its daemon and its compose.
    """

    def __init__(self, name: str, *, secrets: Path, port: int, environment: dict[str, str]) -> None:
        self.secrets = secrets
        self.port = port
        self._command = ["docker", "compose", "--project-name", name, "--progress", "quiet"]
        for file in FILES:
            self._command += ["--file", file]
        self._environment = environment | {
            "SECRETS_FOLDER": str(secrets),
            "FLOWER_PORT": str(port),
            "CHECKPOINT_NODE": NODE,
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose`, however it ends."""
        return self._run(self._command, *arguments, **environment)

    def call(self, *arguments: str, **environment: str) -> str:
        """Run `docker compose`, which must succeed, and return its standard output."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *, scale: dict[str, int] | None = None, **environment: str) -> None:
        """Start what does not run as it is described, and wait until all of it is healthy."""
        counts = dict.fromkeys(WORKERS, 1) | (scale or {})
        scaled = [word for service, count in counts.items() for word in ("--scale", f"{service}={count}")]
        self.call("up", "--wait", "--wait-timeout", "120", *scaled, **environment)

    def containers(self, *services: str) -> list[Container]:
        """Return the containers of some services, or of all, stopped ones too."""
        ids = self.call("ps", "--all", "--quiet", *services).split()
        if not ids:
            return []
        inspected = self._run(["docker", "inspect"], *ids)
        found = cast("list[dict[str, Any]]", json.loads(inspected.stdout))
        return [Container(one["Config"]["Labels"]["com.docker.compose.service"], one) for one in found]

    def container(self, service: str) -> Container:
        """Return the only container of a service."""
        [found] = self.containers(service)
        return found

    def sql(self, query: str) -> str:
        """Return what a query on the composed Postgres gives, without headings."""
        psql = ("psql", "--username=checkpoints", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.call("exec", "--no-TTY", "postgres", *psql, "--command", query).strip()

    def flower(self, path: str, *, password: str | None) -> tuple[int, str]:
        """Return the status and the text that Flower answers."""
        url = f"http://127.0.0.1:{self.port}{path}"
        passwords = HTTPPasswordMgrWithDefaultRealm()
        if password is not None:
            passwords.add_password(None, url, "checkpoints", password)
        try:
            # No proxy of the machine's is meant.
            with build_opener(ProxyHandler({}), BasicAuth(passwords)).open(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, ""

    def flower_password(self) -> str:
        """Return the password of Flower's user."""
        return urlsplit((self.secrets / "checkpoint_flower_url").read_text()).password or ""

    def workers_in_flower(self) -> list[str]:
        """Return the names of the workers that Flower lists as online."""
        _, text = self.flower("/workers?json=1", password=self.flower_password())
        return sorted(one["hostname"] for one in json.loads(text)["data"] if one["status"])

    def logs(self) -> str:
        """Return the last lines of each service, and how its containers are."""
        return self.run("ps", "--all").stdout + self.run("logs", "--no-color", "--tail", "40").stdout

    def _run(self, command: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=os.environ | self._environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

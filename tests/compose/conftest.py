"""A Docker daemon, the images, and the composed system, each made once for the whole run and removed behind it."""

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from tests.compose.composed import ROOT, Composed
from workers.cli.servers import free_port

HERE = Path(__file__).parent
PROJECT = "checkpoints-test"
_composed: list[Composed] = []

log = logging.getLogger(__name__)


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder with a short name: the daemon's socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="compose-test-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def docker(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which `docker compose` works: on the daemon that runs here, else on one of our own."""
    if works("docker", "info") and works("docker", "compose", "version"):
        log.info("using the Docker daemon that runs, with the images that it has or pulls")
        yield {}
        return
    log.info("no Docker daemon with compose; installing what is missing, and starting one in %s", folder)
    daemon = HERE / "daemon.sh"
    must(daemon, "install", folder)
    environment = {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
    if (folder / "config").exists():
        environment["DOCKER_CONFIG"] = str(folder / "config")
    must(daemon, "start", folder)
    try:
        log.info("making stand-ins for the base images from Debian's packages")
        must(HERE / "images.sh", folder, env=environment)
        yield environment
    finally:
        must(daemon, "stop", folder)


@pytest.fixture(scope="session")
def project(docker: dict[str, str], folder: Path) -> Iterator[Composed]:
    """The project, built; nothing of it is left in the end."""
    # Its last line goes into `.env` of where it runs.
    must(ROOT / "deploy" / "secrets.sh", folder / "secrets", cwd=folder)
    composed = Composed(PROJECT, secrets=folder / "secrets", port=free_port(), environment=docker)
    composed.call("down", "--volumes", "--remove-orphans")  # of a run that was killed
    log.info("building the image")
    composed.call("build")
    _composed.append(composed)
    yield composed
    _composed.clear()
    composed.call("--profile", "demo", "down", "--volumes", "--remove-orphans")


@pytest.fixture
def composed(project: Composed) -> Composed:
    """The system, healthy, one container for each service."""
    project.up()
    return project


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the services' logs beside a failure."""
    report = yield
    if report.failed and _composed:
        report.sections.append(("docker compose", _composed[0].logs()))
    return report


def works(*command: str) -> bool:
    """Return whether a command is there and succeeds."""
    is_there = shutil.which(command[0]) is not None
    return is_there and subprocess.run(command, capture_output=True, check=False).returncode == 0


def must(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a command; what it says is told when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}"

"""The engine `docker`, and docker's own commands by hand, at a daemon of the benchmark's own."""

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import holding
from bench.engines.subject import Candidate, Heap, Run
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.dockerd import IMAGE, a_daemon, docker, why_not_docker
from workers.engines.docker import DockerEngine
from workers.engines.engine import Engine
from workers.engines.restored import ClaimFolder
from workers.images.store import ImageStore

CHECKPOINT = "by-hand"
# Docker 20.10 says so now and then of a checkpoint that it has just read; whoever tries again is served.
START_AGAIN, TRIES_MAX, PAUSE_SECONDS = "already exists", 5, 0.3
# The host's own Python runs in a container whose image has none.
SHARED = ("/usr", "/lib", "/lib64")


class DockerSubject:
    """Containers without a network; by hand, a container is started again where it was."""

    tool: str = "docker"
    transfers: tuple[tuple[type, str], ...] = (
        (ImageStore, "put"),
        (ImageStore, "fetch"),
        (ClaimFolder, "remove"),
        (ClaimFolder, "remove_dump"),
    )

    def __init__(self, host: str, settings: Settings) -> None:
        self.engine: Engine = DockerEngine(settings)
        self._host = host

    def start(self, folder: Path, heap: Heap) -> Run:
        """Start a labelled container."""
        shared = dict.fromkeys([*SHARED, sys.base_prefix, str(Path(holding.__file__).parent)])
        # Resolved: criu restores no mount whose source is a link, as /lib is one.
        volumes = [f"--volume={Path(one).resolve()}:{one}:ro" for one in shared if Path(one).exists()]
        argv = ["run", "--detach", "--network=none", "--label=checkpoint.workload=1", f"--volume={folder}:/out"]
        program = [str(Path(sys.executable).resolve()), "-I", "-S", holding.__file__]
        started = docker(self._host, *argv, *volumes, IMAGE, *program, "/out", str(heap.megabytes), heap.kind)
        workload = Workload(EngineName.DOCKER, "bench", container=started.stdout.strip())
        return Run(folder, workload, end=self._remove)

    def dump(self, run: Run, into: Path) -> None:
        """`docker checkpoint create`, which ends the container."""
        del into  # the daemon keeps it
        docker(self._host, "checkpoint", "create", _container(run.workload), CHECKPOINT)

    def restore(self, run: Run, dump: Path) -> None:
        """`docker start --checkpoint`; again where the daemon says what it says now and then."""
        del dump
        argv = ["start", "--checkpoint", CHECKPOINT, _container(run.workload)]
        done, tries = docker(self._host, *argv, check=False), 1
        while START_AGAIN in done.stderr and tries < TRIES_MAX:
            time.sleep(PAUSE_SECONDS)
            done, tries = docker(self._host, *argv, check=False), tries + 1
        done.check_returncode()

    def _remove(self, workload: Workload) -> None:
        docker(self._host, "rm", "--force", _container(workload))


def _container(workload: Workload) -> str:
    if workload.container is None:
        raise LookupError("the run is in no container")
    return workload.container


@contextmanager
def _open(folder: Path, settings: Settings) -> Generator[DockerSubject]:
    folder.mkdir()
    with a_daemon(folder) as host:
        os.environ["DOCKER_HOST"] = host
        yield DockerSubject(host, settings.model_copy(update={"docker_mode": "checkpoint"}))


DOCKER = Candidate("docker", why_not_docker, _open)

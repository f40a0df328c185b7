"""The engine `docker`, and docker's own commands by hand, at a daemon of the benchmark's own."""

import os
import shutil
import subprocess
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
    """Containers without a network. By hand they go the engine's way too: into another container of the same image."""

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
        self._root = Path(docker(host, "info", "--format", "{{.DockerRootDir}}").stdout.strip())
        self._made: dict[Path, list[str]] = {}

    def start(self, folder: Path, heap: Heap) -> Run:
        """Start a labelled container."""
        shared = dict.fromkeys([*SHARED, sys.base_prefix, str(Path(holding.__file__).parent)])
        # Resolved: criu restores no mount whose source is a link, as /lib is one.
        volumes = [f"--volume={Path(one).resolve()}:{one}:ro" for one in shared if Path(one).exists()]
        argv = ["create", "--network=none", "--label=checkpoint.workload=1", f"--volume={folder}:/out", *volumes]
        program = [str(Path(sys.executable).resolve()), "-I", "-S", holding.__file__, "/out"]
        self._made[folder] = [*argv, IMAGE, *program, str(heap.megabytes), heap.kind]
        workload = self._create(folder)
        docker(self._host, "start", _container(workload))
        return Run(folder, workload, end=self._remove)

    def dump(self, run: Run, into: Path) -> None:
        """`docker checkpoint create --leave-running`, since the dump is not stored yet; then `docker rm --force`."""
        container = _container(run.workload)
        keep = ("--leave-running", "--checkpoint-dir", str(into))
        docker(self._host, "checkpoint", "create", *keep, container, CHECKPOINT)
        docker(self._host, "rm", "--force", container)

    def carry(self, run: Run, dump: Path) -> None:
        """Nothing: the dump stays where it is."""

    def restore(self, run: Run, dump: Path) -> None:
        """`docker create`, the dump moved there, and `docker start --checkpoint`."""
        run.workload = self._create(run.folder)
        container = _container(run.workload)
        shutil.move(dump / CHECKPOINT, self._root / "containers" / container / "checkpoints" / CHECKPOINT)
        done, tries = self._start(container), 1
        while START_AGAIN in done.stderr and tries < TRIES_MAX:
            time.sleep(PAUSE_SECONDS)
            done, tries = self._start(container), tries + 1
        done.check_returncode()

    def _start(self, container: str) -> subprocess.CompletedProcess[str]:
        return docker(self._host, "start", "--checkpoint", CHECKPOINT, container, check=False)

    def _create(self, folder: Path) -> Workload:
        made = docker(self._host, *self._made[folder]).stdout.strip()
        return Workload(EngineName.DOCKER, "bench", container=made)

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
        yield DockerSubject(host, settings)


DOCKER = Candidate("docker", why_not_docker, _open)

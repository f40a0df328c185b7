"""A Docker daemon of the tests' own, with a criu that works, and containers that count."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec

from shared.messages import Workload
from shared.vocabulary import EngineName
from tests.criu import criu_path, why_not_criu
from tests.waiting import wait_until

IMAGE = "local/counting:1"
COUNTERS = ("main", "child")
COUNT = "n=0; while :; do n=$((n+1)); echo $n >> /out/{name}; done"
PROGRAM = f"echo kept > /layer; ({COUNT.format(name='child')}) & {COUNT.format(name='main')}"
POLLS = 20
TOGETHER = ("dockerd", "docker", "busybox")


def why_not_docker() -> str | None:
    """Return why no daemon of our own can be started here; None: it can."""
    if os.geteuid() != 0:
        return "a Docker daemon needs root"
    missing = [name for name in TOGETHER if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install docker.io busybox-static)"
    return why_not_criu()


@contextmanager
def a_daemon(folder: Path) -> Generator[str]:
    """Run a daemon in a folder; yields its DOCKER_HOST."""
    host = f"unix://{folder}/docker.sock"
    argv = ["dockerd", "--experimental", "--host", host, "--data-root", f"{folder}/data", "--exec-root"]
    argv += [f"{folder}/exec", "--pidfile", f"{folder}/pid", "--iptables=false", "--ip-forward=false", "--bridge=none"]
    environment = os.environ | {"PATH": f"{Path(criu_path()).parent}:{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: docker(host, "version", check=False).returncode == 0)
        subprocess.run(["docker", "--host", host, "import", "-", IMAGE], input=_image(), check=True)
        yield host
    finally:
        everything = docker(host, "ps", "--all", "--quiet", check=False).stdout.split()
        docker(host, "rm", "--force", *everything, check=False)
        daemon.terminate()
        daemon.wait()


def docker(host: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker at a daemon."""
    return subprocess.run(["docker", "--host", host, *arguments], capture_output=True, text=True, check=check)


def _image() -> bytes:
    """Return a root with nothing but a static shell."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(shutil.which("busybox") or "", "bin/sh")
    return packed.getvalue()


class CountingContainer:
    """A container with two processes, each of which counts in a file of its own.

    Args:
        host: Its daemon.
        folder: For its files.
        label: What marks it as a workload; empty: nothing.
    """

    def __init__(self, host: str, folder: Path, *, label: str = "checkpoint.workload=1") -> None:
        self._host = host
        self.folder = folder
        folder.mkdir()
        for name in COUNTERS:
            (folder / name).touch()
        argv = ["run", "--detach", "--network=none", f"--volume={folder}:/out", "--label", label or "other=1"]
        self.container = docker(host, *argv, IMAGE, "/bin/sh", "-c", PROGRAM).stdout.strip()
        wait_until(lambda: all(self.counts().values()))

    @property
    def workload(self) -> Workload:
        """Return what an upstream would say of it."""
        return Workload(EngineName.DOCKER, "here", container=self.container)

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        assert workload.container is not None
        self.container = workload.container

    def counts(self) -> dict[str, list[int]]:
        """Return what each of its counters has counted so far; a line in the making counts as none."""
        texts = {name: (self.folder / name).read_text() for name in COUNTERS}
        return {name: [int(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
                for name, text in texts.items()}  # fmt: skip

    def sizes(self) -> list[int]:
        """Return how much each counter has written."""
        return [(self.folder / name).stat().st_size for name in COUNTERS]

    def assert_runs(self) -> None:
        """Every counter goes on, and none has skipped or repeated a number."""
        before = self.sizes()
        wait_until(lambda: all(now > then for now, then in zip(self.sizes(), before, strict=True)))
        for name, numbers in self.counts().items():
            assert [pair for pair in pairwise([0, *numbers]) if pair[1] != pair[0] + 1] == [], name

    def assert_stands(self) -> None:
        """Over many looks no counter goes on."""
        before = self.sizes()
        for _ in range(POLLS):
            docker(self._host, "version")  # which takes a while, in which a process that runs would count
            assert self.sizes() == before

    def state(self) -> str:
        """Return what the daemon says of it: `running`, `paused`, or nothing if it is gone."""
        return docker(
            self._host, "inspect", "--format", "{{.State.Status}}", self.container, check=False
        ).stdout.strip()

    def layer_file(self) -> str:
        """Return what the workload wrote beside its image, as its container has it now."""
        found = docker(self._host, "inspect", self.container).stdout
        return Path(msgspec.json.decode(found)[0]["GraphDriver"]["Data"]["UpperDir"], "layer").read_text()

"""A Docker daemon of the tests' own, with a criu that works, and containers in which this machine's Python runs."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.messages import Workload
from shared.vocabulary import EngineName
from tests.criu import criu_path, why_not_criu
from tests.engines.counting import PROGRAM, Counting
from tests.waiting import wait_until

IMAGE: Final = "local/nothing:1"
LABEL: Final = {"checkpoint.workload": "1"}
TOGETHER: Final = ("dockerd", "docker")
# All that a program needs is this machine's own; the image itself is empty.
SHARED: Final = sorted({Path(path) for path in ("/lib", "/lib64", "/usr", sys.base_prefix, sys.prefix)})


def why_not_docker() -> str | None:
    """Return why no daemon of our own can be started here; None: it can."""
    if os.geteuid() != 0:
        return "a Docker daemon needs root"
    missing = [name for name in TOGETHER if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (apt-get install docker.io)"
    return why_not_criu()


def criu_options(host: str) -> Path:
    """Return where the criu of a daemon of ours looks for options; there are none at first."""
    return Path(host.removeprefix("unix://")).with_name("criu.conf")


@contextmanager
def a_daemon(folder: Path) -> Generator[str]:
    """Run a daemon in a folder; yields its DOCKER_HOST."""
    host = f"unix://{folder}/docker.sock"
    argv = ["dockerd", "--experimental", "--host", host, "--data-root", f"{folder}/data", "--exec-root"]
    argv += [f"{folder}/exec", "--pidfile", f"{folder}/pid", "--iptables=false", "--ip-forward=false", "--bridge=none"]
    environment = os.environ | {"PATH": f"{Path(criu_path()).parent}:{os.environ['PATH']}"}
    environment |= {"CRIU_CONFIG_FILE": str(criu_options(host))}
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: docker(host, "version", check=False).returncode == 0)
        subprocess.run(
            ["docker", "--host", host, "import", "-", IMAGE], input=_image(), capture_output=True, check=True
        )
        yield host
    finally:
        remove_containers(host)
        daemon.terminate()
        daemon.wait()
        # After a container on the network of the machine it stays mounted, and its folder could not be removed.
        subprocess.run(["umount", f"{folder}/exec/netns/default"], stderr=subprocess.DEVNULL, check=False)


def docker(host: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker at a daemon."""
    return subprocess.run(["docker", "--host", host, *arguments], capture_output=True, text=True, check=check)


def containers(host: str, *filters: str) -> list[str]:
    """Return the names of all containers of a daemon that pass some filters, running or not."""
    argv = [f"--filter={one}" for one in filters]
    return sorted(docker(host, "ps", "--all", "--format", "{{.Names}}", *argv).stdout.split())


def remove_containers(host: str) -> None:
    """End and remove all containers of a daemon."""
    if names := containers(host):
        docker(host, "rm", "--force", "--volumes", *names, check=False)


def dumps_kept(host: str) -> list[str]:
    """Return the names of the dumps that a daemon keeps beside its containers."""
    root = docker(host, "info", "--format", "{{.DockerRootDir}}").stdout.strip()
    return [path.name for path in Path(root).glob("containers/*/checkpoints/*")]


def _image() -> bytes:
    """Return a root with nothing in it but an empty folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folder = tarfile.TarInfo("empty")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    return packed.getvalue()


class StartedContainer:
    """A run in a container, with its output nowhere; its folder is at the same place in there.

    Args:
        host: Its daemon.
        folder: For its files.
        argv: The program.
        environment: All of it.
        labels: What marks it as a workload; empty: nothing.
        options: More for `docker run`.
    """

    def __init__(
        self,
        host: str,
        folder: Path,
        argv: list[str],
        environment: Mapping[str, str],
        *,
        labels: Mapping[str, str] = LABEL,
        options: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self.folder = folder
        self.argv = argv
        run = ["run", "--detach", "--log-driver=none", f"--volume={folder}:{folder}"]
        run += [f"--volume={path.resolve()}:{path}:ro" for path in SHARED if path.exists()]
        run += [f"--env={name}={value}" for name, value in environment.items()]
        run += [f"--label={name}={value}" for name, value in labels.items()]
        self.container = docker(host, *run, *(options or ["--network=none"]), IMAGE, *argv).stdout.strip()
        self.pid = self._pid()

    @property
    def workload(self) -> Workload:
        """Return what an upstream would say of it."""
        return Workload(EngineName.DOCKER, "here", container=self.container)

    @property
    def name(self) -> str:
        """Return what its daemon calls it now; nothing if it is gone."""
        return self._inspect("{{.Name}}").lstrip("/")

    @property
    def state(self) -> str:
        """Return what the daemon says of it: `running`, `paused`, or nothing if it is gone."""
        return self._inspect("{{.State.Status}}")

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        assert workload.container is not None
        self.container = workload.container
        self.pid = self._pid()

    def exec(self, *argv: str) -> str:
        """Run a command in it, and return what that says."""
        return docker(self.host, "exec", self.container, *argv).stdout

    def end(self) -> None:
        """Remove it."""
        docker(self.host, "rm", "--force", self.container, check=False)

    def _pid(self) -> int:
        return int(self._inspect("{{.State.Pid}}"))

    def _inspect(self, what: str) -> str:
        return docker(self.host, "inspect", "--format", what, self.container, check=False).stdout.strip()


class CountingContainer(Counting, StartedContainer):
    """A container that counts; a look at it takes longer than one at a process.

    Args:
        host: Its daemon.
        folder: For its files.
        mark: Its labels; empty for a container that must not be touched.
        options: More for `docker run`.
    """

    looks = 20

    def __init__(
        self, host: str, folder: Path, mark: Mapping[str, str] = LABEL, *, options: tuple[str, ...] = ()
    ) -> None:
        argv = self.begin(folder)
        super().__init__(host, folder, argv, {"COUNTING": PROGRAM}, labels=mark, options=options)
        wait_until(lambda: all(self.counts().values()))

    def is_kept_still(self) -> bool:
        """Whether its daemon keeps it still, or every thread of every process is stopped."""
        return self.state == "paused" or super().is_kept_still()

"""A containerd and a registry of the tests' own, and containers that count; `cri.sh` installs what they need."""

import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, Final

import msgspec

from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.criu import why_not_criu
from tests.engines.counting import PROGRAM, Counting, workload_of
from tests.engines.docker_registry import Registry
from tests.waiting import wait_until
from workers.engines.crictl import CLAIM
from workers.engines.engine import Engine, Image
from workers.engines.processes import Process
from workers.node.lock import NodeLock

SCRIPT: Final = Path(__file__).with_name("cri.sh")
MADE_HERE: Final = Path(__file__).parents[2] / ".cri"
PROGRAMS: Final = ("buildah", "skopeo", "docker-registry", "busybox")
LABEL: Final = {"checkpoint.workload": "1"}
# All that a program needs is this machine's own; the image itself holds what holds a pod.
SHARED: Final = sorted({Path(path) for path in ("/lib", "/lib64", "/usr", sys.base_prefix, sys.prefix)})
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
# A pid namespace of its own: what is restored into a pod whose pids are shared finds its pids taken.
NAMESPACES: Final = {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}


def why_not_cri() -> str | None:
    """Return why no containerd of our own can be started here; None: it can."""
    if os.geteuid() != 0:
        return "containerd needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [name for name in ("containerd", "crictl") if not (MADE_HERE / "bin" / name).exists()]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/engines/cri.sh install .cri)"
    return why_not_criu()


@dataclass(frozen=True)
class Containerd:
    """A containerd that runs, and the registry that it pulls from."""

    folder: Path
    registry: Registry
    numbers: "count[int]" = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder}/containerd.sock"

    @property
    def image(self) -> str:
        """What pods and containers are made of."""
        return f"{self.registry.name}/counting:1"

    def crictl(self, *words: str, check: bool = True) -> str:
        """Run a command of crictl, and return what it prints."""
        argv = [MADE_HERE / "bin" / "crictl", "--runtime-endpoint", self.endpoint, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=check).stdout.strip()

    @contextmanager
    def asked_quickly(self) -> Generator[None]:
        """Have one crictl answer for all, as long as this lasts."""
        socket = self.folder / "crictl.sock"
        argv = [MADE_HERE / "bin" / "crictl", "--runtime-endpoint", self.endpoint, "serve", socket]
        with subprocess.Popen(argv) as server:
            try:
                wait_until(socket.exists)
                yield
            finally:
                server.terminate()

    def ask(self, *words: str) -> Any:
        """Run a command of crictl that prints JSON; None: it failed."""
        said = self.crictl(*words, "--output", "json", check=False)
        return msgspec.json.decode(said) if said else None

    def containers(self) -> list[str]:
        """Return the ids of all containers, running or not."""
        return sorted(one["id"] for one in self.ask("ps", "--all").get("containers", []))

    def running(self) -> list[str]:
        """Return the ids of the containers that run, held ones too."""
        return [one["id"] for one in self.ask("ps").get("containers", [])]

    def restored(self) -> list[str]:
        """Return the ids of the containers that claims restored."""
        listed = self.ask("ps", "--all").get("containers", [])
        return [one["id"] for one in listed if CLAIM in one.get("labels", {})]

    def pods(self) -> list[str]:
        """Return the ids of all pods, ready or not."""
        return sorted(one["id"] for one in self.ask("pods").get("items", []))

    def remove_pods(self, *pods: str) -> None:
        """End and remove pods and what is in them."""
        for pod in pods:
            self.crictl("stopp", pod)
            self.crictl("rmp", pod)

    def settings(self, folder: Path) -> Settings:
        """Return settings of an engine that uses it, with a path of its own in the registry."""
        return Settings.model_validate(
            {
                "crictl_path": str(MADE_HERE / "bin" / "crictl"),
                "cri_registry": f"{self.registry.name}/images-{next(self.numbers)}",
                "cri_registry_tls_verify": False,
                "work_folder": folder,
            }
        )


@contextmanager
def a_containerd(folder: Path) -> Generator[Containerd]:
    """Run a containerd and a registry in a folder."""
    runtime = Containerd(folder, Registry(folder))
    with (folder / "log").open("wb") as log:
        argv = [SCRIPT, "start", MADE_HERE, folder, runtime.image]
        daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        runtime.registry.start()
        archive = folder / "image.tar"
        archive.write_bytes(_image())
        push = ["skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{runtime.image}"]
        subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: runtime.crictl("version", check=False))
        runtime.crictl("pull", runtime.image)
        with runtime.asked_quickly():
            yield runtime
            runtime.remove_pods(*runtime.pods())
    finally:
        daemon.terminate()
        daemon.wait()
        runtime.registry.stop()
        _end_shims(folder)


def _end_shims(folder: Path) -> None:
    """End what a runtime that is gone left of its own; nothing, if its pods could be removed."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{folder}/containerd.sock" in (process / "cmdline").read_text():
                os.kill(int(process.name), signal.SIGKILL)


def _image() -> bytes:
    """Return an image with a program that waits, as Docker saves it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        files.add(Path(shutil.which("busybox") or "").resolve(), "bin/busybox")
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        files.addfile(folder)
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]
    parts = {"manifest.json": msgspec.json.encode(manifest), "config.json": msgspec.json.encode(config)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in {**parts, "layer.tar": layer.getvalue()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def start_pod(
    runtime: Containerd,
    folder: Path,
    argv: list[str],
    *,
    labels: Mapping[str, str] = LABEL,
    environment: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Start a pod with a container, and return the ids of both; the folder is at the same place in there.

    What they were made with is written there, as `pod.json` and `container.json`.
    """
    name = f"counting-{next(runtime.numbers)}"
    mounts = {folder: folder} | {path: path.resolve() for path in SHARED if path.exists()}
    pod = {
        "metadata": {"name": name, "uid": name, "namespace": "tests"},
        "log_directory": str(folder / "logs"),
        "linux": {"security_context": NAMESPACES},
    }
    container = {
        "metadata": {"name": "counting"},
        "image": {"image": runtime.image},
        "command": argv,
        "envs": [{"key": key, "value": value} for key, value in (environment or {}).items()],
        "labels": dict(labels),
        "mounts": [
            {"container_path": str(inside), "host_path": str(path), "readonly": inside != folder}
            for inside, path in mounts.items()
        ],
        "log_path": "counting.log",
        "linux": {"security_context": NAMESPACES},
    }
    files = folder / "pod.json", folder / "container.json"
    for file, config in zip(files, (pod, container), strict=True):
        file.write_bytes(msgspec.json.encode(config))
    pod_id = runtime.crictl("runp", str(files[0]))
    container_id = runtime.crictl("create", pod_id, str(files[1]), str(files[0]))
    runtime.crictl("start", container_id)
    return pod_id, container_id


class CountingPod(Counting):
    """A pod with a container that counts; its folder is at the same place in there.

    Args:
        runtime: Where it runs.
        folder: For its files.
        mark: The container's labels; those of a workload make it one.
    """

    looks = 20

    def __init__(self, runtime: Containerd, folder: Path, mark: Mapping[str, str] = LABEL) -> None:
        self._runtime = runtime
        self.folder = folder
        argv = self.begin(folder)
        self.pod, self.container = start_pod(runtime, folder, argv, labels=mark, environment={"COUNTING": PROGRAM})
        self.pid = self._pid()
        wait_until(lambda: all(self.counts().values()))

    @property
    def workload(self) -> Workload:
        """Return what an upstream would say of it."""
        return Workload(EngineName.CRI, "here", container=self.container)

    @property
    def process(self) -> Process:
        """Return its first process."""
        return Process(self.pid, workload_of(self.pid).started_at_ticks or 0)

    @property
    def root(self) -> Path:
        """Return its files: those of its image, and what it has written beside them."""
        return Path(f"/proc/{self.pid}/root")

    def moved_to(self, workload: Workload) -> None:
        """Take note of where it lives now."""
        assert workload.container is not None
        self.container = workload.container
        self.pid = self._pid()
        self.pod = self._runtime.ask("inspect", self.container)["info"]["sandboxID"]

    def end(self) -> None:
        """Remove it and its pod."""
        self._runtime.remove_pods(self.pod)

    def _pid(self) -> int:
        return int(self._runtime.ask("inspect", self.container)["info"]["pid"])


def frozen_and_stored(engine: Engine, counting: CountingPod, *, name: str, lock: NodeLock) -> Image:
    """Freeze a container and store it; it stands then."""
    engine.freeze(counting.workload, lock=lock, stop=Event())
    return engine.store(counting.workload, name=name, lock=lock, stop=Event())


def what_is_left(settings: Settings, containerd: Containerd) -> list[str]:
    """Return what lies in the work folder, and the tags of images in the registry."""
    folder = settings.work_folder
    files = [path.name for path in folder.iterdir()] if folder.exists() else []
    repositories = [f"{settings.cri_registry}/checkpoint-{id_}" for id_ in (17, 18, 19)]
    return files + [tag for repository in repositories for tag in containerd.registry.tags(repository)]

"""Runs in pods of the tests' own containerd: started, counted, and what is left of them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Final

import msgspec

from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.containerd import Containerd
from tests.engines.counting import PROGRAM, Counting, workload_of
from tests.waiting import wait_until
from workers.engines.engine import Engine, Image
from workers.engines.processes import Process
from workers.node.lock import NodeLock

LABEL: Final = {"checkpoint.workload": "1"}
# All that a program needs is this machine's own; the image itself holds what holds a pod.
SHARED: Final = sorted({Path(path) for path in ("/lib", "/lib64", "/usr", sys.base_prefix, sys.prefix)})
# A pid namespace of its own: what is restored into a pod whose pids are shared finds its pids taken.
NAMESPACES: Final = {"namespace_options": {"network": "NODE", "pid": "CONTAINER"}}


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


class StartedPod:
    """A run in a container of a pod of its own; its folder is at the same place in there.

    Args:
        runtime: Where it runs.
        folder: For its files.
        argv: The program.
        environment: All of it.
        labels: What marks it as a workload; empty: nothing.
    """

    def __init__(
        self,
        runtime: Containerd,
        folder: Path,
        argv: list[str],
        environment: Mapping[str, str],
        *,
        labels: Mapping[str, str] = LABEL,
    ) -> None:
        self.runtime = runtime
        self.folder = folder
        self.pod, self.container = start_pod(runtime, folder, argv, labels=labels, environment=environment)
        self.pid = self._pid()

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
        self.pod = self.runtime.ask("inspect", self.container)["info"]["sandboxID"]

    def end(self) -> None:
        """Remove it and its pod."""
        self.runtime.remove_pods(self.pod)

    def _pid(self) -> int:
        return int(self.runtime.ask("inspect", self.container)["info"]["pid"])


class CountingPod(Counting, StartedPod):
    """A pod with a container that counts; a look at it takes longer than one at a process.

    Args:
        runtime: Where it runs.
        folder: For its files.
        mark: The container's labels; those of a workload make it one.
    """

    looks = 20

    def __init__(self, runtime: Containerd, folder: Path, mark: Mapping[str, str] = LABEL) -> None:
        argv = self.begin(folder)
        super().__init__(runtime, folder, argv, {"COUNTING": PROGRAM}, labels=mark)
        wait_until(lambda: all(self.counts().values()))


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

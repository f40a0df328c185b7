"""The engine `cri`, and crictl by hand, on a containerd and a registry of the benchmark's own."""

import json
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from bench.engines import holding
from bench.engines.subject import Candidate, Heap, Run
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.containerd import Containerd, a_containerd, why_not_cri
from tests.engines.pods import start_pod
from workers.engines.cri import CriEngine
from workers.engines.crictl import Crictl
from workers.engines.engine import Engine
from workers.engines.registry import ARCHIVE, Registry
from workers.engines.remade import Remade
from workers.node.lock import node_lock


class CriSubject:
    """Pods of one container; both sides bring a container back into its own pod."""

    tool: str = "crictl"
    transfers: tuple[tuple[type, str], ...] = (
        (Registry, "put"),
        (Remade, "pull"),
        (Crictl, "remove_image"),
    )

    def __init__(self, runtime: Containerd, settings: Settings) -> None:
        self.engine: Engine = CriEngine(settings)
        self._runtime = runtime
        self._settings = settings
        self._pods: dict[Path, str] = {}

    def start(self, folder: Path, heap: Heap) -> Run:
        """Start a labelled container in a pod of its own."""
        program = str(shutil.copy(holding.__file__, folder))
        argv = [sys.executable, "-I", "-S", program, str(folder), str(heap.megabytes), heap.kind]
        self._pods[folder], container = start_pod(self._runtime, folder, argv)
        return Run(folder, _workload(container), end=lambda _: self._end(folder))

    def dump(self, run: Run, into: Path) -> None:
        """`crictl checkpoint`, then `crictl rm --force`."""
        container = run.workload.container or ""
        self._runtime.crictl("--timeout", "600s", "checkpoint", f"--export={into / ARCHIVE}", container)
        self._runtime.crictl("rm", "--force", container)

    def carry(self, run: Run, dump: Path) -> None:
        """Push the dump as an image, and pull that."""
        image = f"{self._settings.cri_registry}/by-hand:{dump.name}"
        with node_lock(run.folder / "locks", "bench") as lock:
            if lock is None:
                raise LookupError("the lock of a new folder is held")
            Registry(self._settings).put(dump, image=image, container="counting", labels={}, lock=lock, stop=Event())
        self._runtime.crictl("pull", image)
        file = run.folder / "container.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"image": {"image": image}}))

    def restore(self, run: Run, dump: Path) -> None:
        """`crictl create` from the image, and `crictl start`."""
        del dump
        files = str(run.folder / "container.json"), str(run.folder / "pod.json")
        container = self._runtime.crictl("create", self._pods[run.folder], *files)
        self._runtime.crictl("start", container)
        run.workload = _workload(container)

    def _end(self, folder: Path) -> None:
        self._runtime.remove_pods(self._pods.pop(folder))
        image = json.loads((folder / "container.json").read_text())["image"]["image"]
        if image != self._runtime.image:
            self._runtime.crictl("rmi", image)


def _workload(container: str) -> Workload:
    return Workload(EngineName.CRI, "bench", container=container)


@contextmanager
def _open(folder: Path, settings: Settings) -> Generator[CriSubject]:
    folder.mkdir()
    with a_containerd(folder) as runtime:
        os.environ["CONTAINER_RUNTIME_ENDPOINT"] = runtime.endpoint
        its = runtime.settings(settings.work_folder)
        yield CriSubject(runtime, its)


CRI = Candidate("cri", why_not_cri, _open)

"""The engine `cri`: containers of Kubernetes' runtime interface, exported by crictl, kept as OCI images in a registry.

Frozen and held are SIGSTOP, as in `process`: the CRI has no pause, and a container whose cgroup somebody else froze
is not checkpointed by containerd. So the dump's tasks are stopped ones, and are restored stopped.
"""

import base64
import json
import os
import signal
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import structlog

from shared.errors import EngineError, EngineRevoked, EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.engines import checkpointing, command, processes, registry, tree
from workers.engines.crictl import CLAIM, READY, RUNNING, Container, Crictl, is_missing
from workers.engines.engine import Image
from workers.engines.freezer import freezer_state, thaw_cgroup
from workers.engines.processes import Process
from workers.engines.registry import ARCHIVE, LABEL, Registry
from workers.images.limits import expect_free
from workers.images.store import earlier_names
from workers.node.lock import NodeLock
from workers.node.private import private_folder

PREFIX: Final = "cri:"
LAUNCHER: Final = (sys.executable, "-I", "-S", checkpointing.__file__)
LOOK_SECONDS: Final = 30.0
STANDING_SECONDS, PAUSE_SECONDS = 5.0, 0.001
# The archive, its files unpacked twice, and the compressed layer.
COPIES: Final = 4

log = structlog.get_logger(__name__)


class CriEngine:
    """Freezes labelled containers of this node into images of a registry, and restores them.

    Args:
        settings: The programs, the registry and the work folder.
    """

    leaves_standing = False

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.engine_timeout_ms / 1000
        self._folder = settings.work_folder
        self._reserve = settings.free_bytes_min
        self._name = settings.cri_registry.rstrip("/")
        self._crictl = Crictl(settings.crictl_path, min(self._seconds, LOOK_SECONDS))
        self._registry = Registry(settings)

    def probe(self) -> None:
        """Return if crictl reaches a runtime, buildah and skopeo are here, and a registry is named.

        Raises:
            EngineUnsupported: It is not so; the message says what is missing.
        """
        if not self._name:
            raise EngineUnsupported(
                "the engine cri needs a registry; name one in CHECKPOINT_CRI_REGISTRY, for example "
                "registry.example.com/checkpoints."
            )
        try:
            self._crictl.version()
        except EngineUnavailable as error:
            raise EngineUnsupported(f"no container runtime answers crictl: {error.message}") from error
        self._registry.check()
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            pass

    def freeze(self, workload: Workload, *, lock: NodeLock, stop: Event) -> None:
        """Stop the container's first process and all of its descendants; what `crictl exec` started is not among them.

        Raises:
            RunGone: There is no such container, it does not run, or does not carry our label.
            EngineUnsupported: The worker itself runs in it.
            EngineUnavailable: A process did not stop in time.
            EngineRevoked: `stop` was set meanwhile.
        """
        del lock  # no command is run that changes anything
        container, root = self._expect(workload)
        if root.pid in processes.ancestors(os.getpid()):
            raise EngineUnsupported(f"container {container.id} holds this checkpoint worker; start it elsewhere.")
        if stop.is_set():
            raise EngineRevoked(f"container {container.id} was not frozen: the checkpoint was revoked")
        tree.stop_family(root, {}, stop=stop, seconds=self._seconds)

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Export the frozen container, and push it as an image.

        A revocation ends the build and the push, never the dump: ended in the middle, it could take the run with it.

        Raises:
            RunGone: There is no such container, or it does not carry our label.
            EngineUnavailable: Another try may mend it; nothing ran meanwhile.
            EngineRevoked: `stop` was set meanwhile.
        """
        container, root = self._expect(workload)
        family = _expect_standing(root)
        for earlier in earlier_names(name):
            registry.remove(self._folder / earlier)
        expect_free(self._folder, COPIES * sum(map(processes.memory_of, family)), reserve=self._reserve)
        folder = self._make(name)
        try:
            started = time.monotonic()
            self._export(container, root, folder / ARCHIVE, lock=lock)
            _wait_standing(root)
            dumped = time.monotonic()
            dump_bytes = (folder / ARCHIVE).stat().st_size
            pushed = self._registry.put(
                folder,
                image=self._image(name),
                container=str(container.config["metadata"]["name"]),
                label=_packed(self._configs(container)),
                lock=lock,
                stop=stop,
            )
            _expect_standing(root)
        finally:
            registry.remove(folder)
        phases = {
            "dump_ms": round(1000 * (dumped - started)),
            "store_ms": round(1000 * (time.monotonic() - dumped)),
            "dump_bytes": dump_bytes,
        }
        return Image(PREFIX + self._image(name), pushed.digest, pushed.image_bytes, phases)

    def thaw(self, workload: Workload) -> None:
        """Let the container's processes run again; one that is gone or does not carry our label is ignored."""
        with suppress(RunGone):
            _, root = self._expect(workload)
            # Left frozen by a runtime that died in the middle of a checkpoint.
            thaw_cgroup(root.pid)
            for process in reversed(processes.family(root)):
                processes.signal_process(process, signal.SIGCONT)

    def kill(self, workload: Workload) -> None:
        """Kill and remove the container, and its pod if that was made by a restore; one that is gone is ignored."""
        with suppress(RunGone):
            container = self._crictl.inspect(workload.container or "")
            if not container.is_labelled:
                return
            root = container.process()
            if root is not None:
                # What is killed while it is frozen would not end.
                thaw_cgroup(root.pid)
            self._remove(container.id, container.pod)

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Pull the image, verified by its digest, and start a container from it: in its own pod, else in a new one.

        What an earlier claim restored was never permitted: it is removed first.

        Raises:
            RunGone: There is no such image.
            EngineUnavailable: Another try may mend it.
            EngineRevoked: `stop` was set meanwhile.
        """
        there = self._restored([name])
        if len(there) == 1 and there[0]["state"] == RUNNING:
            return _moved(workload, there[0]["id"])
        self._remove_restored([*earlier_names(name), name], keep=None)
        repository = _image_of(image.location).rpartition(":")[0]
        reference = f"{repository}@{image.digest}"
        folder = self._make(name)
        try:
            return _moved(workload, self._restore(reference, name, folder, lock=lock, stop=stop))
        except BaseException:
            self._remove_restored([name], keep=None)
            raise
        finally:
            registry.remove(folder)
            self._crictl.remove_image(reference)

    def permit(self, workload: Workload) -> None:
        """Let a held container run; one that runs already or is gone is ignored."""
        self.thaw(workload)

    def discard(self, location: str) -> None:
        """Delete the image at a location from the registry; one that is gone is ignored.

        Raises:
            EngineUnavailable: The registry does not answer, or does not delete.
        """
        self._registry.delete(_image_of(location))

    def clear(self, name: str, *, keep: Workload | None) -> None:
        """Remove images, half exports and unpermitted containers of this and earlier claims.

        Raises:
            EngineUnavailable: The registry or the runtime does not answer.
        """
        names = [*earlier_names(name), name]
        self._remove_restored(names, keep=keep.container if keep else None)
        for one in names:
            registry.remove(self._folder / one)
            self._registry.delete(self._image(one))
        for image in self._crictl.images_of(self._image(name).rpartition(":")[0]):
            self._crictl.remove_image(image)

    def standing(self, *, node: str) -> list[Workload]:
        """Return the labelled containers that stand now; none when the runtime does not answer."""
        try:
            ids = [str(one["id"]) for one in self._crictl.workloads(all_states=False)]
        except EngineError as error:
            log.warning("engine.unanswered", engine=str(EngineName.CRI), problem=error.message)
            return []
        found = [Workload(EngineName.CRI, node, container=container) for container in ids]
        return [workload for workload in found if self.is_standing(workload)]

    def is_standing(self, workload: Workload) -> bool:
        """Whether any thread of the container's first process is stopped: it is stopped first and continued last."""
        try:
            _, root = self._expect(workload)
        except EngineError:
            return False
        return processes.STOPPED in processes.thread_states(root) or freezer_state(root.pid) is not None

    def _expect(self, workload: Workload) -> tuple[Container, Process]:
        """Return the container and its first process.

        Raises:
            RunGone: There is none, it does not run, or it does not carry our label.
        """
        if workload.container is None:
            raise RunGone("the workload names a process; the engine cri freezes containers.")
        container = self._crictl.inspect(workload.container)
        if not container.is_labelled:
            raise RunGone(
                f"container {container.id} is not marked as a workload; start it with the label checkpoint.workload=1.",
                container=container.id,
            )
        root = container.process() if container.state == RUNNING else None
        if root is None:
            raise RunGone(f"container {container.id} does not run; it is {container.state}.", container=container.id)
        return container, root

    def _export(self, container: Container, root: Process, archive: Path, *, lock: NodeLock) -> None:
        state = freezer_state(root.pid, anyway=True)
        watch = [*LAUNCHER, str(state or ""), str(root.pid), self._crictl.path]
        # crictl's own limit is seconds; a large container takes longer.
        argv = [*watch, "--timeout", f"{self._seconds:g}s", "checkpoint", f"--export={archive}", container.id]
        try:
            command.run(argv, lock=lock, stop=Event(), seconds=self._seconds)
        except EngineUnavailable as error:
            said = str(error.facts.get("output", "")) or error.message
            raise EngineUnavailable(f"the container was not checkpointed: {said}", **error.facts) from error

    def _configs(self, container: Container) -> dict[str, Any]:
        _, pod = self._crictl.pod(container.pod)
        return {"container": container.config, "pod": pod, "sandbox": container.pod}

    def _restore(self, reference: str, name: str, folder: Path, *, lock: NodeLock, stop: Event) -> str:
        def run(*words: str) -> str:
            argv = [self._crictl.path, "--timeout", f"{self._seconds:g}s", *words]
            return command.run(argv, lock=lock, stop=stop, seconds=self._seconds).output.strip().rpartition("\n")[2]

        try:
            run("pull", reference)
        except EngineUnavailable as error:
            if is_missing(error):
                raise RunGone(f"there is no image {reference}.", **error.facts) from error
            raise
        kept = _unpacked(self._crictl.labels_of_image(reference)[LABEL])
        claim = self._image(name)
        files = folder / "pod.json", folder / "container.json"
        sandbox = kept["sandbox"] if self._is_ready(kept["sandbox"]) else None
        if sandbox is None:
            _raise_attempt(kept["pod"])
            kept["pod"].setdefault("labels", {})[CLAIM] = claim
        _raise_attempt(kept["container"])
        kept["container"].setdefault("labels", {})[CLAIM] = claim
        kept["container"]["image"] = {"image": reference}
        for file, config in zip(files, (kept["pod"], kept["container"]), strict=True):
            file.write_text(json.dumps(config))
        if sandbox is None:
            sandbox = run("runp", str(files[0]))
        container = run("create", sandbox, str(files[1]), str(files[0]))
        run("start", container)
        _, root = self._expect(Workload(EngineName.CRI, "here", container=container))
        _wait_standing(root)
        return container

    def _is_ready(self, sandbox: str) -> bool:
        try:
            return self._crictl.pod(sandbox)[0] == READY
        except RunGone:
            return False

    def _restored(self, names: list[str]) -> list[dict[str, Any]]:
        claims = {self._image(name) for name in names}
        return [it for it in self._crictl.workloads(all_states=True) if it.get("labels", {}).get(CLAIM) in claims]

    def _remove_restored(self, names: list[str], *, keep: str | None) -> None:
        for one in self._restored(names):
            if one["id"] != keep:
                self._remove(one["id"], one["podSandboxId"])
        if keep is None:
            # A worker died between a pod and its container.
            for name in names:
                for pod in self._crictl.pods_of(self._image(name)):
                    self._crictl.remove_pod(pod)

    def _remove(self, container: str, pod: str) -> None:
        self._crictl.remove(container)
        with suppress(RunGone):
            if CLAIM in self._crictl.pod(pod)[1].get("labels", {}):
                self._crictl.remove_pod(pod)

    def _image(self, name: str) -> str:
        """Return the image of a claim; from its checkpoint's id and epoch only."""
        return f"{self._name}/checkpoint-{name.partition('-')[0]}:{name}"

    def _make(self, name: str) -> Path:
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            folder = self._folder / name
            registry.remove(folder)
            folder.mkdir(mode=0o700)
            return folder


def _moved(workload: Workload, container: str) -> Workload:
    return Workload(workload.engine, workload.node, container=container)


def _image_of(location: str) -> str:
    image = location.removeprefix(PREFIX)
    if image == location or "/checkpoint-" not in image:
        raise RunGone(f"{location!r} is no image of the engine cri.", location=location)
    return image


def _raise_attempt(config: dict[str, Any]) -> None:
    """Make it another of the same name: the runtime keeps the names of those before."""
    config["metadata"]["attempt"] = int(config["metadata"].get("attempt", 0)) + 1


def _packed(value: dict[str, Any]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def _unpacked(text: str) -> dict[str, Any]:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def _expect_standing(root: Process) -> list[Process]:
    family = processes.family(root)
    if not family or not all(map(processes.is_stopped, family)):
        raise EngineUnavailable(
            f"process {root.pid} of the container or one of its descendants runs; expected all of them frozen by us.",
            pid=root.pid,
        )
    return family


def _wait_standing(root: Process) -> None:
    """Return once all of them stand, of which the kernel was told.

    Raises:
        EngineUnavailable: They do not within 5 s: somebody continued them.
    """
    limit = time.monotonic() + STANDING_SECONDS
    while True:
        try:
            _expect_standing(root)
        except EngineUnavailable:
            if time.monotonic() >= limit:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return

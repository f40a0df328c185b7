"""The engine `cri`: containers of Kubernetes' runtime interface, exported by crictl, kept as OCI images in a registry.

Frozen and held are SIGSTOP, as in `process`: the CRI has no pause, and a container whose cgroup somebody else froze
is not checkpointed by containerd. So the dump's tasks are stopped ones, and are restored stopped.
"""

import os
import shutil
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final

from shared.errors import EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.engines import checkpointing, command, criu, processes, tree
from workers.engines.crictl import RUNNING, Container, Crictl
from workers.engines.engine import Image
from workers.engines.freezer import freezer_of, is_frozen, thaw_cgroup
from workers.engines.processes import Process
from workers.engines.registry import ARCHIVE, Registry
from workers.engines.remade import RESTORE_LABEL, Remade
from workers.images.limits import expect_free
from workers.images.store import earlier_names
from workers.node.lock import NodeLock
from workers.node.private import private_folder

PREFIX: Final = "cri:"
# The interpreter itself, as in `restored.LAUNCHER`.
LAUNCHER: Final = (os.path.realpath(sys.executable), "-I", "-S", checkpointing.__file__)
LOOK_SECONDS: Final = 30.0
# The archive, its files unpacked twice, and the compressed layer.
COPIES: Final = 4


class CriEngine:
    """Freezes labelled containers of this node into images of a registry, and restores them.

    Args:
        settings: The programs, the registry and the work folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.engine_timeout_ms / 1000
        self._folder = settings.work_folder
        self._reserve = settings.free_bytes_min
        self._name = settings.cri_registry.rstrip("/")
        self._crictl = Crictl(settings.crictl_path, min(self._seconds, LOOK_SECONDS))
        self._remade = Remade(self._crictl, self._seconds)
        self._registry = Registry(settings)

    def leaves_standing(self, location: str) -> bool:
        """Never: all is in the image."""
        del location
        return False

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
            self._registry.check()
        except (EngineUnavailable, RunGone) as error:
            raise EngineUnsupported(f"the engine cri does not work here: {error.message}") from error
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
        _, root = self._expect(workload)
        tree.freeze_tree(root, stop=stop, seconds=self._seconds)

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Export the frozen container, and push it as an image.

        A revocation ends the build and the push, never the dump: ended in the middle, it could take the run with it.

        Raises:
            RunGone: There is no such container, or it does not carry our label.
            EngineUnavailable: Another try may mend it; nothing ran meanwhile.
            EngineUnsupported: No other try can.
            EngineRevoked: `stop` was set meanwhile.
        """
        container, root = self._expect(workload)
        family = tree.standing_family(root)
        for earlier in earlier_names(name):
            _remove(self._folder / earlier)
        with self._claim(name) as folder:
            expect_free(folder, COPIES * sum(map(processes.memory_of, family)), reserve=self._reserve)
            started = time.monotonic()
            with ThreadPoolExecutor(max_workers=1) as beside:
                packed = beside.submit(self._remade.packed, container)
                self._export(container, root, folder / ARCHIVE, lock=lock)
            tree.wait_standing(root)
            dumped = time.monotonic()
            dump_bytes = (folder / ARCHIVE).stat().st_size
            pushed = self._registry.put(
                folder,
                image=self._image(name),
                container=str(container.config["metadata"]["name"]),
                labels={RESTORE_LABEL: packed.result()},
                lock=lock,
                stop=stop,
            )
            tree.standing_family(root)
        phases = {
            "dump_ms": round(1000 * (dumped - started)),
            "store_ms": round(1000 * (time.monotonic() - dumped)),
            "dump_bytes": dump_bytes,
        }
        return Image(PREFIX + self._image(name), pushed.digest, pushed.image_bytes, phases, is_portable=True)

    def thaw(self, workload: Workload) -> None:
        """Let the container's processes run again; one that is gone or does not carry our label is ignored."""
        with suppress(RunGone):
            _, root = self._expect(workload)
            # Left frozen by a runtime that died in the middle of a checkpoint.
            thaw_cgroup(root)
            tree.thaw_tree(root)

    def kill(self, workload: Workload) -> None:
        """Kill and remove the container, and its pod if that was made by a restore; one that is gone is ignored."""
        if workload.container is not None:
            self._remade.end(workload.container)

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Pull the image, verified by its digest, and start a container from it: in its own pod, else in a new one.

        What an earlier claim restored was never permitted: it is removed first.

        Raises:
            RunGone: There is no such image.
            ImageRefused: It is none of ours.
            EngineUnavailable: Another try may mend it.
            EngineRevoked: `stop` was set meanwhile.
        """
        claim = self._image(name)
        container = self._remade.take_over(claim, earlier=self._earlier(name))
        if container is None:
            repository = _image_of(image.location).rpartition(":")[0]
            container = self._restore(f"{repository}@{image.digest}", name, lock=lock, stop=stop)
        return Workload(workload.engine, workload.node, container=container)

    def _restore(self, reference: str, name: str, *, lock: NodeLock, stop: Event) -> str:
        claim = self._image(name)
        try:
            self._remade.pull(reference, lock=lock, stop=stop)
            with self._claim(name) as folder:
                container = self._remade.make(
                    reference, claim=claim, earlier=self._earlier(name), folder=folder, lock=lock, stop=stop
                )
            _, root = self._expect(Workload(EngineName.CRI, "here", container=container))
            tree.wait_standing(root)
        except BaseException:
            self._remade.clear([claim], keep=None)
            raise
        finally:
            self._crictl.remove_image(reference)
        return container

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
        self._remade.clear([*self._earlier(name), self._image(name)], keep=keep.container if keep else None)
        for one in names:
            _remove(self._folder / one)
        repository = self._image(name).rpartition(":")[0]
        self._registry.delete_tags(repository, names)
        for image in self._crictl.images_of(repository):
            self._crictl.remove_image(image)

    def standing(self, *, node: str) -> list[Workload]:
        """Return the labelled containers that stand now."""
        ids = [str(one["id"]) for one in self._crictl.workloads(all_states=False)]
        # A look at /proc for all of them; crictl is asked only about those that may stand.
        still = processes.in_states({processes.STOPPED, processes.UNINTERRUPTIBLE})
        cgroups = "".join(map(processes.cgroups_of, still))
        found = [Workload(EngineName.CRI, node, container=container) for container in ids if container in cgroups]
        return [workload for workload in found if self.is_standing(workload)]

    def is_standing(self, workload: Workload) -> bool:
        """Whether any thread of the container's first process is stopped: it is stopped first and continued last."""
        try:
            _, root = self._expect(workload)
        except RunGone:
            return False
        return tree.is_tree_standing(root) or is_frozen(root)

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
        state = freezer_of(root)
        watch = [*LAUNCHER, str(state or ""), str(root.pid), self._crictl.path]
        # crictl's own limit is seconds; a large container takes longer.
        argv = [*watch, "--timeout", f"{self._seconds:g}s", "checkpoint", f"--export={archive}", container.id]
        try:
            command.run(argv, lock=lock, stop=Event(), seconds=self._seconds)
        except EngineUnavailable as error:
            said = str(error.facts.get("output", "")) or error.message
            criu.explain_by_log(said, error)
            raise EngineUnavailable(f"the container was not checkpointed: {said}", **error.facts) from error

    def _image(self, name: str) -> str:
        """Return the image of a claim; from its checkpoint's id and epoch only."""
        return f"{self._name}/checkpoint-{name.partition('-')[0]}:{name}"

    def _earlier(self, name: str) -> list[str]:
        return [self._image(one) for one in earlier_names(name)]

    @contextmanager
    def _claim(self, name: str) -> Generator[Path]:
        """Make an empty folder for a claim at work, and remove it with all that was built in it."""
        folder = self._folder / name
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            _remove(folder)
            folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _remove(folder)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _image_of(location: str) -> str:
    image = location.removeprefix(PREFIX)
    if image == location or "/checkpoint-" not in image:
        raise RunGone(f"{location!r} is no image of the engine cri.", location=location)
    return image

"""The engine `docker`: containers, checkpointed by their daemon with CRIU.

Frozen means paused. A dump of a paused container leaves it paused; its tasks are set to stopped in the dump, so that
what is restored from it stands until it is permitted. A daemon that makes no checkpoints pauses only: then the
container is left as it is, and its restore is to let it go.
"""

import json
import shutil
import time
from pathlib import Path
from threading import Event
from typing import Any, Final

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_when_event_set, wait_fixed

from shared.errors import EngineError, EngineRevoked, EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.engines import command, docker_commands, processes
from workers.engines.containers import Container, Daemon
from workers.engines.engine import Image
from workers.engines.restored import ClaimFolder
from workers.engines.standing_dump import make_standing
from workers.images.limits import expect_free
from workers.images.store import ImageStore, earlier_names
from workers.node.lock import NodeLock
from workers.node.private import private_folder

PREFIX, PAUSED_PREFIX = "docker:", "docker-paused:"
CONFIG, LAYER = "workload-container.json", "workload-layer.tar"
FREEZE_AGAIN: Final = "unable to freeze"
TRIES_MAX, PAUSE_SECONDS = 5, 0.3


class DockerEngine:
    """Freezes and restores containers of this node's Docker daemon that have the label of a workload."""

    def __init__(self, settings: Settings) -> None:
        self._mode = settings.docker_mode
        self._seconds = settings.engine_timeout_ms / 1000
        self._folder = settings.work_folder
        self._reserve = settings.free_bytes_min
        self._system = str(settings.work_folder)  # it belongs to one system only
        self._images = ImageStore(settings)
        self._daemon = Daemon()

    def leaves_standing(self, location: str) -> bool:
        """Whether the container was paused only; see `Engine.leaves_standing`."""
        return location.startswith(PAUSED_PREFIX)

    def probe(self) -> None:
        """Return if the daemon answers and can do what the mode asks for.

        Raises:
            EngineUnsupported: It cannot; the message says what is missing.
        """
        try:
            info = self._daemon.info()
        except EngineError as error:
            raise EngineUnsupported(error.message) from error
        if self._mode == "checkpoint" and not info.get("ExperimentalBuild"):
            raise EngineUnsupported(
                'this Docker daemon makes no checkpoints: set "experimental": true in its daemon.json, and put criu on '
                "its PATH; or set CHECKPOINT_DOCKER_MODE=pause.",
                version=info.get("ServerVersion"),
            )

    def freeze(self, workload: Workload, *, lock: NodeLock, stop: Event) -> None:
        """Pause the container: its cgroup stops all of its processes at once."""
        del lock  # no command is run
        container = self._daemon.expect(_name(workload))
        if stop.is_set():
            raise EngineRevoked("the container was not paused: the checkpoint was revoked")
        # runc may fail to freeze processes that start others all the time; it lets them go, and the next try works.
        Retrying(
            retry=retry_if_exception(lambda error: FREEZE_AGAIN in str(error)),
            wait=wait_fixed(PAUSE_SECONDS),
            stop=stop_after_attempt(TRIES_MAX) | stop_when_event_set(stop),
            reraise=True,
        )(self._daemon.pause, container)

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Have the daemon dump the paused container, then store the dump with what the container has written.

        Raises:
            RunGone: There is no such container, or it is no workload.
            EngineUnavailable: Another try may mend it.
            EngineUnsupported: No other try can.
            EngineRevoked: `stop` was set meanwhile.
        """
        container = self._expect_paused(workload)
        if not self._makes_checkpoints():
            return Image(PAUSED_PREFIX + name, None, 0)
        claim = self._claim(name)
        self._images.discard(*earlier_names(name))
        memory = sum(map(processes.memory_of, container.processes()))
        expect_free(self._folder, memory, reserve=self._reserve)
        try:
            claim.make()
            claim.dump.rmdir()  # the daemon makes it
            started = time.monotonic()
            docker_commands.dump(container.id, claim.dump, lock=lock, seconds=self._seconds)
            dumped = time.monotonic()
            _keep_files(claim.dump)
            make_standing(claim.dump)
            (claim.dump / CONFIG).write_text(json.dumps(container.facts))
            _tar(["--create"], container.layer, claim.dump / LAYER, lock=lock, stop=stop, seconds=self._seconds)
            stored = self._images.put(claim.dump, name=name, stop=stop)
            self._expect_paused(workload)
        finally:
            claim.remove()
        phases = {
            "dump_ms": round(1000 * (dumped - started)),
            "store_ms": round(1000 * (time.monotonic() - dumped)),
            "dump_bytes": stored.dump_bytes,
        }
        return Image(PREFIX + name, stored.digest, stored.image_bytes, phases)

    def thaw(self, workload: Workload) -> None:
        """Let the container run again; one that is gone or no workload is ignored."""
        container = self._daemon.find(_name(workload))
        if container is not None and container.is_marked and container.is_running:
            self._daemon.let_go(container)

    def kill(self, workload: Workload) -> None:
        """End and remove the container; its volumes stay. One that is gone or no workload is ignored."""
        container = self._daemon.find(_name(workload))
        if container is not None and container.is_marked:
            self._daemon.remove(container)

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Make the container again under the claim's name and start it from the dump, all of its processes stopped.

        One that was paused only is returned as it is.
        """
        if self.leaves_standing(image.location):
            self._daemon.expect(_name(workload))
            return workload
        restored = Workload(workload.engine, workload.node, container=_restored_name(name))
        there = self._daemon.find(_name(restored))
        if there is not None and not there.is_restored_by(self._system):
            raise EngineUnavailable(
                f"another container has the name {_name(restored)}, which this restore needs; rename or remove it."
            )
        if there is None or not there.is_running:
            for one in [*earlier_names(name), name]:
                self._remove_restored(one)
            self._restore(image, self._claim(name), _restored_name(name), lock=lock, stop=stop)
        ClaimFolder(self._dump_of(self._daemon.expect(_name(restored)), name)).remove()
        return restored

    def _restore(self, image: Image, claim: ClaimFolder, name: str, *, lock: NodeLock, stop: Event) -> None:
        try:
            claim.make()
            location = image.location.removeprefix(PREFIX)
            self._images.fetch(location, digest=image.digest, into=claim.dump, stop=stop)
            facts: dict[str, Any] = json.loads((claim.dump / CONFIG).read_text())
            made = self._daemon.create(name, Container(facts).as_new(system=self._system))
            _tar(["--extract"], made.layer, claim.dump / LAYER, lock=lock, stop=stop, seconds=self._seconds)
            for one in (CONFIG, LAYER):
                (claim.dump / one).unlink()
            shutil.move(claim.dump, self._dump_of(made, claim.path.name))
            docker_commands.start(made.id, checkpoint=claim.path.name, lock=lock, seconds=self._seconds)
        except BaseException:
            self._remove_restored(claim.path.name)
            raise
        finally:
            claim.remove()

    def _dump_of(self, container: Container, name: str) -> Path:
        """Return from where alone the daemon starts a container that it has not dumped itself."""
        return Path(self._daemon.info()["DockerRootDir"], "containers", container.id, "checkpoints", name)

    def permit(self, workload: Workload) -> None:
        """Let the container run; one that runs already or is gone is ignored."""
        self.thaw(workload)

    def discard(self, location: str) -> None:
        """Remove the image at a location; one that is gone, or was never stored, is ignored."""
        if location.startswith(PREFIX):
            self._images.discard(location.removeprefix(PREFIX))

    def clear(self, name: str, *, keep: Workload | None) -> None:
        """Remove images, half dumps and unpermitted containers of this and earlier claims."""
        kept = _name(keep) if keep else None
        for one in [*earlier_names(name), name]:
            if _restored_name(one) != kept:
                self._remove_restored(one)
            ClaimFolder(self._folder / one).remove()
            self._images.discard(one)

    def standing(self, *, node: str) -> list[Workload]:
        """Return the workloads that are paused or held, each under all of its names."""
        return [
            Workload(EngineName.DOCKER, node, container=name)
            for container in self._daemon.workloads()
            if self._daemon.is_standing(container)
            for name in container.names
        ]

    def is_standing(self, workload: Workload) -> bool:
        """Whether the container is paused or held; false for one that runs, is gone or is no workload."""
        container = self._daemon.find(_name(workload))
        return (
            container is not None
            and container.is_marked
            and container.is_running
            and self._daemon.is_standing(container)
        )

    def _remove_restored(self, name: str) -> None:
        """End and remove what a claim of this system restored."""
        container = self._daemon.find(_restored_name(name))
        if container is not None and container.is_restored_by(self._system):
            self._daemon.remove(container)

    def _expect_paused(self, workload: Workload) -> Container:
        container = self._daemon.expect(_name(workload))
        if not container.is_paused:
            raise EngineUnavailable(f"container {_name(workload)} runs; expected it paused: somebody continued it.")
        return container

    def _makes_checkpoints(self) -> bool:
        if self._mode == "auto":
            return bool(self._daemon.info().get("ExperimentalBuild"))
        return self._mode == "checkpoint"

    def _claim(self, name: str) -> ClaimFolder:
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            return ClaimFolder(self._folder / name)


def _name(workload: Workload) -> str:
    """Return the container of a workload.

    Raises:
        RunGone: It names a process.
    """
    if workload.container is None:
        raise RunGone("the workload names a process; the engine docker expects a container.")
    return workload.container


def _restored_name(name: str) -> str:
    """Return the name of the container that a claim restores: by checkpoint and epoch, never an upstream's word."""
    return f"checkpoint-{name}"


def _keep_files(dump: Path) -> None:
    """Keep the files of a dump; its folders hold logs, if anything."""
    for entry in dump.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


def _tar(how: list[str], folder: Path, archive: Path, *, lock: NodeLock, stop: Event, seconds: float) -> None:
    """Pack or unpack what a container has written: owners, times and marks of removed files included."""
    argv = ["tar", *how, "--xattrs", "--xattrs-include=*", "--numeric-owner", "--file", str(archive)]
    command.run([*argv, "--directory", str(folder), "."], lock=lock, stop=stop, seconds=seconds)

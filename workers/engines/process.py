"""The engine `process`: CRIU on a process tree. A frozen run is an image; its memory and its slot are given back.

Freezing is the same as in `simulate`: the whole tree is stopped. criu dumps what stands, and restores it standing:
that is what "held" means here.
"""

import json
import time
from pathlib import Path
from threading import Event
from typing import Final

from shared.errors import EngineUnavailable, EngineUnsupported
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.engines import connections, ending, processes, restored, tree
from workers.engines.criu import Criu
from workers.engines.engine import Image
from workers.engines.processes import Process
from workers.engines.restored import ClaimFolder
from workers.images.limits import expect_free
from workers.images.store import ImageStore, earlier_names
from workers.node.lock import NodeLock
from workers.node.private import private_folder

PREFIX: Final = "process:"
# In the dump's folder, and so in the image: the pids that a restore needs.
PIDS = "pids.json"


class ProcessEngine:
    """Freezes process trees of this node that are marked as workloads into images, and restores them.

    Args:
        settings: Where criu, its work folder and the images are.
    """

    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.engine_timeout_ms / 1000
        self._folder = settings.work_folder
        self._reserve = settings.free_bytes_min
        self._keeps_connections = settings.process_tcp == "established"
        self._criu = Criu(settings.criu_path, settings.process_tcp, self._seconds)
        self._images = ImageStore(settings)

    def leaves_standing(self, location: str) -> bool:
        """Never: all is in the image."""
        del location
        return False

    def probe(self) -> None:
        """Return if criu works here, and its work folder is ours alone.

        Raises:
            EngineUnsupported: It does not; the message is what criu says.
        """
        if processes.read_stat(processes.PROC / "self") is None:
            raise EngineUnsupported("the engine process needs Linux; this system has no /proc.")
        self._criu.check()
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            pass

    def freeze(self, workload: Workload, *, lock: NodeLock, stop: Event) -> None:
        """Stop the process and its descendants; see `tree.freeze`.

        Raises:
            EngineUnsupported: It lives in a pid namespace, but is not its first process.
        """
        del lock  # no command is run
        root = tree.expect(workload)
        pids = processes.pids_in_namespaces(root)
        if len(pids) > 1 and pids[-1] != 1:
            raise EngineUnsupported(
                f"process {root.pid} is process {pids[-1]} of a pid namespace; CRIU dumps a namespace as a whole. "
                "Name its first process as the workload.",
                pid=root.pid,
            )
        tree.freeze(workload, stop=stop, seconds=self._seconds)

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Dump the frozen workload, then pack and store the dump.

        A revocation ends the packing, never the dump: ended in the middle, it could take the run with it.

        Raises:
            RunGone: The workload has ended, is not marked, or its pid is used again.
            EngineUnavailable: Another try may mend it.
            EngineUnsupported: No other try can.
            EngineRevoked: `stop` was set meanwhile.
        """
        claim = self._claim(name)
        family = tree.expect_standing(workload)
        self._images.discard(*earlier_names(name))
        restored.clear(self._folder, earlier_names(name), keep=None, seconds=self._seconds)
        expect_free(self._folder, sum(map(processes.memory_of, family)), reserve=self._reserve)
        try:
            claim.make()
            started = time.monotonic()
            if self._keeps_connections:
                connections.note(family, self._note_of(family[0]))
            self._criu.dump(family[0].pid, claim.dump, lock=lock)
            tree.wait_standing(family[0])
            dumped = time.monotonic()
            (claim.dump / PIDS).write_text(json.dumps(_pids_needed(family)))
            stored = self._images.put(claim.dump, name=name, stop=stop)
            tree.expect_standing(workload)
        finally:
            claim.remove()
        phases = {
            "dump_ms": _milliseconds(dumped - started),
            "store_ms": _milliseconds(time.monotonic() - dumped),
            "dump_bytes": stored.dump_bytes,
        }
        # A connection belongs to this machine's address: a run that keeps its own has to come back here.
        is_portable = self._images.is_shared and not self._keeps_connections
        return Image(PREFIX + name, stored.digest, stored.image_bytes, phases, is_portable=is_portable)

    def thaw(self, workload: Workload) -> None:
        """Continue the process and its descendants; one that is gone or not marked is ignored."""
        tree.thaw(workload)
        if workload.pid is not None and workload.started_at_ticks is not None:
            self._note_of(Process(workload.pid, workload.started_at_ticks)).unlink(missing_ok=True)

    def kill(self, workload: Workload) -> None:
        """End the process and its descendants, and wait until their pids are free.

        Raises:
            EngineUnavailable: One did not end in time, or its parent does not ask how it ended.
        """
        if workload.pid is None or workload.started_at_ticks is None:
            return
        root = Process(workload.pid, workload.started_at_ticks)
        if self._keeps_connections and tree.is_standing(workload):
            connections.leave_open(processes.family(root), self._note_of(root))
        ending.end_tree(root, seconds=self._seconds)
        self._note_of(root).unlink(missing_ok=True)

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Fetch, verify and unpack an image, and restore it standing.

        What an earlier claim restored was never permitted: it is ended first.

        Raises:
            RunGone: There is no such image.
            ImageRefused: It is not what was accepted.
            EngineUnavailable: Another try may mend it: a pid is taken, the disk is full, criu failed.
            EngineUnsupported: No other try can.
            EngineRevoked: `stop` was set meanwhile.
        """
        claim = self._claim(name)
        process = claim.process()
        if process is None:
            restored.clear(self._folder, [*earlier_names(name), name], keep=None, seconds=self._seconds)
            process = self._restore(image, claim, lock=lock, stop=stop)
        return Workload(workload.engine, workload.node, pid=process.pid, started_at_ticks=process.started_at_ticks)

    def _restore(self, image: Image, claim: ClaimFolder, *, lock: NodeLock, stop: Event) -> Process:
        def fetch() -> None:
            self._images.fetch(_name_of(image.location), digest=image.digest, into=claim.dump, stop=stop)
            _expect_free_pids(json.loads((claim.dump / PIDS).read_text()))

        try:
            claim.make()
            self._criu.restore(claim.launcher, claim.dump, pid_file=claim.pid_file, lock=lock, stop=stop, first=fetch)
            process = claim.process()
            if process is None:
                raise EngineUnavailable("the restored process ended at once; see the run's own output.")
            tree.wait_standing(process)
        except BaseException:
            restored.clear(self._folder, [claim.path.name], keep=None, seconds=self._seconds)
            raise
        claim.remove_dump()
        return process

    def permit(self, workload: Workload) -> None:
        """Continue the process and its descendants; one that is gone or not marked is ignored."""
        tree.thaw(workload)

    def discard(self, location: str) -> None:
        """Remove the image at a location; one that is gone is ignored.

        Raises:
            EngineUnavailable: The store does not answer.
        """
        self._images.discard(_name_of(location))

    def clear(self, name: str, *, keep: Workload | None) -> None:
        """Remove images, half dumps and unpermitted processes of this and earlier claims.

        Raises:
            EngineUnavailable: The store does not answer, or a process did not end.
        """
        kept = Process(keep.pid, keep.started_at_ticks) if keep and keep.pid and keep.started_at_ticks else None
        names = [*earlier_names(name), name]
        restored.clear(self._folder, names, keep=kept, seconds=self._seconds)
        self._images.discard(*names)

    def standing(self, *, node: str) -> list[Workload]:
        """Return the marked processes that stand now; a descendant of a workload is listed like one."""
        return tree.standing(EngineName.PROCESS, node=node)

    def is_standing(self, workload: Workload) -> bool:
        """Whether any thread of the process is stopped; see `tree.is_standing`."""
        return tree.is_standing(workload)

    def _note_of(self, root: Process) -> Path:
        """Return where it is written down what had come in on the connections of a process."""
        return self._folder / "connections" / f"{root.pid}-{root.started_at_ticks}"

    def _claim(self, name: str) -> ClaimFolder:
        with private_folder(self._folder, setting="CHECKPOINT_WORK_FOLDER"):
            return ClaimFolder(self._folder / name)


def _name_of(location: str) -> str:
    """Return the name of an image of ours; the store refuses what is none."""
    return location.removeprefix(PREFIX)


def _pids_needed(family: list[Process]) -> list[int]:
    """Return the pids that a restore needs, those of threads included; in a namespace of its own it needs none."""
    if len(processes.pids_in_namespaces(family[0])) > 1:
        return []
    return sorted(thread for process in family for thread in processes.threads_of(process))


def _expect_free_pids(pids: list[int]) -> None:
    """Return if no process or thread has one of these pids.

    Raises:
        EngineUnavailable: One has; the message says who.
    """
    for pid in pids:
        folder = processes.PROC / str(pid)
        if folder.exists():
            raise EngineUnavailable(
                f"pid {pid}, which the frozen run needs, belongs to {_command_of(folder)} now. Another try comes; to "
                "be sure, start runs in a pid namespace of their own (unshare --pid --fork setsid).",
                pid=pid,
            )


def _command_of(folder: Path) -> str:
    try:
        return repr((folder / "comm").read_text(errors="replace").strip())
    except OSError:
        return "another process"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)

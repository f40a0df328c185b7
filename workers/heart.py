"""The heart of a worker process: looks at its loops every second and writes down how they are."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread

import structlog

from shared import heartbeat
from shared.heartbeat import BEAT_SECONDS, Heartbeat
from shared.pulse import Finding
from workers.cli.kinds import WorkerKind

log = structlog.get_logger(__name__)


class Heart:
    """The thread that writes the heartbeat file of this process.

    Args:
        kind: Of the worker.
        folder: Where the file lies.
        looks: One for each loop; a loop that stands does not stop the heart, since it has to tell.

    Raises:
        Misconfigured: Others could write into the folder.
    """

    def __init__(self, kind: WorkerKind, folder: Path, looks: Sequence[Callable[[], Finding]]) -> None:
        heartbeat.open_folder(folder)
        heartbeat.remove_gone(folder, kind)
        self._kind = kind
        self._folder = folder
        self._looks = looks
        self._started_at_ticks = heartbeat.started_at_ticks(os.getpid()) or 0
        self._is_unwritten = False
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; the file goes with the process."""
        self._stopping.set()
        self._thread.join()
        heartbeat.path_of(self._folder, self._kind, os.getpid()).unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            try:
                heartbeat.write(self._folder, self.beat())
                self._is_unwritten = False
            except OSError as error:
                # A full disk is no reason to stop work. The old file grows stale, and readers say so.
                if not self._is_unwritten:
                    log.warning("heartbeat.unwritten", folder=str(self._folder), error=str(error))
                self._is_unwritten = True
            if self._stopping.wait(BEAT_SECONDS):
                return

    def beat(self) -> Heartbeat:
        """Return how the process is now."""
        findings = [look() for look in self._looks]
        problems = list(dict.fromkeys(one.problem for one in findings if one.problem is not None))
        return Heartbeat(
            kind=self._kind,
            pid=os.getpid(),
            started_at_ticks=self._started_at_ticks,
            at=heartbeat.now(),
            alive=all(one.turns for one in findings),
            ready=not problems,
            problems=problems,
        )

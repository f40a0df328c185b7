"""Workers that are started again whatever ends them, as an init system would."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event, Lock, Thread

from system import environment_of

from shared.settings import Settings
from workers.cli.kinds import WorkerKind

LOOK_SECONDS = 0.1
AGAIN_SECONDS = 0.5  # after a worker that ended by itself, as all do whose Postgres is away at their start


@dataclass(slots=True)
class _Post:
    """A place that one worker process has."""

    kind: WorkerKind
    log: Path
    fatal: list[str]  # at which effects its next lives end, one after the other
    process: subprocess.Popen[bytes]
    starts: int = 1


class Supervision:
    """Keeps workers running until it is told to stop.

    Args:
        settings: Of the system.
        logs: Folder for one log for each place.
    """

    def __init__(self, settings: Settings, logs: Path) -> None:
        self._settings = settings
        self._logs = logs
        self._posts: list[_Post] = []
        self._lock = Lock()
        self._stopping = Event()
        self._thread = Thread(target=self._watch, name="supervision")
        logs.mkdir()

    def start(self, kind: WorkerKind, *, count: int = 1, fatal: Sequence[str] = ()) -> None:
        """Start so many workers of a kind, and keep them running.

        Args:
            kind: Which.
            count: How many.
            fatal: Values of FAIL_AT: at which effects their first lives end, one after the other.
        """
        for number in range(count):
            log, ends = self._logs / f"{kind}-{number}.log", list(fatal)
            with self._lock:
                self._posts.append(_Post(kind, log, ends, self._run(kind, log, ends)))
        if self._thread.ident is None:
            self._thread.start()

    def kill(self, kind: WorkerKind, random: Random) -> None:
        """Kill -9 a worker of a kind; it is started again."""
        self._signal_one(kind, random, signal.SIGKILL)

    def hold(self, kind: WorkerKind, random: Random) -> subprocess.Popen[bytes]:
        """Have a worker of a kind stand still; whoever asked lets it go on, if it was not killed meanwhile."""
        return self._signal_one(kind, random, signal.SIGSTOP)

    def starts(self, kind: WorkerKind | None = None) -> int:
        """Return how often a worker of a kind, or any, was started."""
        return sum(post.starts for post in self._posts if kind in {None, post.kind})

    def logged(self, *words: str) -> list[str]:
        """Return the lines of all logs in which one of these words stands."""
        lines = [line for post in self._posts for line in post.log.read_text(errors="replace").splitlines()]
        return [line for line in lines if any(word in line for word in words)]

    def stop(self) -> None:
        """Kill -9 all."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        for post in self._posts:
            post.process.send_signal(signal.SIGKILL)
            post.process.wait()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for post in list(self._posts):
                code = post.process.poll()
                if code is None:
                    continue
                if code != -signal.SIGKILL and self._stopping.wait(AGAIN_SECONDS):
                    return
                with self._lock:
                    post.process = self._run(post.kind, post.log, post.fatal)
                    post.starts += 1

    def _signal_one(self, kind: WorkerKind, random: Random, number: signal.Signals) -> subprocess.Popen[bytes]:
        with self._lock:
            process = random.choice([post.process for post in self._posts if post.kind is kind])
            process.send_signal(number)
        return process

    def _run(self, kind: WorkerKind, log: Path, fatal: list[str]) -> subprocess.Popen[bytes]:
        more = {"FAIL_AT": fatal.pop(0)} if fatal else {}
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", "worker", kind],
                env=environment_of(self._settings) | more,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

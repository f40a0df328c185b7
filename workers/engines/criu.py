"""CRIU's commands: found, called, and what they say made readable.

A dump is never ended by us short of its time limit: of criu processes that were killed in the middle of one, a few
per cent took the process that they dumped with them (its own code was being run there).
"""

import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final, Literal, NoReturn

import structlog

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported
from workers.engines import command
from workers.node.lock import NodeLock

Tcp = Literal["close", "established"]

CHECK_SECONDS: Final = 60
LINES_MAX: Final = 6
GHOST_LIMIT: Final = "256M"
# Errors only, and on its standard output.
QUIET: Final = "-v1"
MARK_OF_ERRORS: Final = "Error ("
LOG: Final = re.compile(r"(?:path=|log file:)\s*(/\S+\.log)")
# criu says this at every run that may not raise its own limit of open files, and goes on.
HARMLESS: Final = ("RLIMIT_NOFILE",)
# What no other try mends, and what to do about it.
HOPELESS: Final = {
    "Can't get rlimit": "the worker needs CAP_SYS_RESOURCE, or the run has to be of the worker's own user",
    "tty: Found slave peer": "the run has a terminal; start it with its input and output elsewhere",
    "is outside of its pid namespace": "start the run in a session of its own (setsid)",
    "doesn't support io_uring": "the run uses io_uring, which CRIU cannot dump",
    # Said of containers only: we call no criu of theirs ourselves.
    "consider using --tcp-established": "it has TCP connections; write tcp-close into /etc/criu/runc.conf, or into a "
    "file that CRIU_CONFIG_FILE names in the environment of dockerd or containerd",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Criu:
    """The program criu of this node.

    Args:
        path: Its name or path.
        tcp: What becomes of TCP connections.
        seconds: The limit of each command.
    """

    path: str
    tcp: Tcp
    seconds: float

    def check(self) -> None:
        """Return if this node's kernel and our rights are enough.

        Raises:
            EngineUnsupported: They are not, or there is no criu; the message is criu's own.
        """
        checked = self._ask("check")
        if checked.returncode != 0:
            raise EngineUnsupported(
                f"CRIU does not work here: {errors_in(checked.stderr + checked.stdout) or checked.returncode}. "
                "It needs root, or CAP_CHECKPOINT_RESTORE and a kernel that allows it.",
                criu=self.path,
            )

    def version(self) -> str:
        """Return its number.

        Raises:
            EngineUnsupported: There is no criu, or it does not answer.
        """
        return self._ask("--version").stdout.partition("Version:")[2].partition("\n")[0].strip() or "unknown"

    def tracks_memory(self) -> bool:
        """Whether the kernel knows which pages were written to since a dump.

        Raises:
            EngineUnsupported: There is no criu, or it does not answer.
        """
        return self._ask("check", "--feature", "mem_dirty_track").returncode == 0

    def dump(self, pid: int, folder: Path, *, lock: NodeLock) -> None:
        """Dump a process tree that stands into an empty folder; it stands before and after.

        Raises:
            EngineUnavailable: It failed.
            EngineUnsupported: It always will, or there is no criu.
        """
        argv = [self.path, "dump", QUIET, "--tree", str(pid), "--images-dir", str(folder)]
        argv += ["--ghost-limit", GHOST_LIMIT, *self._dumping()]
        self._run(argv, lock=lock, stop=Event())

    def restore_argv(self, folder: Path, *, pid_file: Path) -> list[str]:
        """Return the command that restores a dump, still standing as it was dumped."""
        argv = [self.path, "restore", QUIET, "--images-dir", str(folder), "--restore-detached"]
        return [*argv, "--pidfile", str(pid_file), f"--tcp-{self.tcp}"]

    def restore(
        self,
        launcher: Sequence[str],
        folder: Path,
        *,
        pid_file: Path,
        lock: NodeLock,
        stop: Event,
        first: Callable[[], None],
    ) -> None:
        """Restore a dump by a launcher that takes the command as its last arguments.

        Args:
            launcher: It is started at once, and restores when it has got a byte on its standard input.
            folder: Where the dump will be.
            pid_file: For the pid of what was restored.
            lock: The run's lock on this node.
            stop: Ends it.
            first: Brings the dump there, while the launcher starts.

        Raises:
            EngineUnavailable: It failed, or reached its limit.
            EngineUnsupported: It always will, or there is no criu.
            EngineRevoked: `stop` was set.
        """
        argv = [*launcher, *self.restore_argv(folder, pid_file=pid_file)]
        self._run(argv, lock=lock, stop=stop, first=first)

    def _dumping(self) -> list[str]:
        """Return how connections are dumped; either way the dump's process may go on with them.

        With `--leave-running` criu leaves what was stopped stopped, and gives the connections back. (With
        `--leave-stopped` it keeps them locked: after a thaw each would fail.) Nothing is lost unlocked where they
        will be closed anyway, and so no firewall rule can be left behind.
        """
        return ["--leave-running", "--tcp-established", "--skip-in-flight", "--network-lock", "skip"]

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.path, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=CHECK_SECONDS,
                check=False,
            )
        except OSError as error:
            raise EngineUnsupported(
                f"{self.path} cannot be started: {error.strerror}. Install CRIU (make criu), or name it in "
                "CHECKPOINT_CRIU_PATH.",
                criu=self.path,
            ) from error
        except subprocess.TimeoutExpired as error:
            raise EngineUnsupported(
                f"{self.path} {arguments[0]} took longer than {CHECK_SECONDS} s.", criu=self.path
            ) from error

    def _run(
        self, argv: Sequence[str], *, lock: NodeLock, stop: Event, first: Callable[[], None] | None = None
    ) -> None:
        try:
            completed = command.run(argv, lock=lock, stop=stop, seconds=self.seconds, first=first)
        except EngineRevoked:
            raise
        except EngineUnavailable as error:
            said = errors_in(str(error.facts.get("output", "")))
            if not said:
                raise
            explain(said, error)
        else:
            log.debug("criu.completed", argv=completed.argv, output=completed.output)


def explain(said: str, error: EngineUnavailable) -> NoReturn:
    """Say what criu said, and whether another try can mend it.

    Args:
        said: The lines that matter.
        error: What failed by it.

    Raises:
        EngineUnavailable: It may.
        EngineUnsupported: It cannot.
    """
    for words, remedy in HOPELESS.items():
        if words in said:
            raise EngineUnsupported(f"CRIU cannot freeze this run: {remedy}. It said: {said}", **error.facts) from error
    raise EngineUnavailable(f"CRIU failed: {said}", **error.facts) from error


def explain_by_log(said: str, error: EngineUnavailable) -> None:
    """Say what criu wrote into the log that a container runtime names; return if there is no such log any more.

    Args:
        said: What the runtime said: that criu failed, and where criu said why.
        error: What failed by it.

    Raises:
        EngineUnavailable: Another try may mend it.
        EngineUnsupported: It cannot.
    """
    log_file = LOG.search(said)
    if log_file is None:
        return
    try:
        text = Path(log_file[1]).read_text(errors="replace")
    except OSError:
        return  # that of a failed restore is removed by then
    if reasons := errors_in(text):
        explain(reasons, error)


def errors_in(output: str) -> str:
    """Return the lines that matter of what criu printed."""
    lines = [line.strip() for line in output.splitlines() if not any(one in line for one in HARMLESS)]
    errors = [line for line in lines if MARK_OF_ERRORS in line] or [line for line in lines if line]
    return "; ".join(errors[:LINES_MAX])

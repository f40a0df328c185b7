"""Run an engine's command: never a shell, never without a limit, never leaving a process behind."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from threading import Event

import structlog

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported
from shared.settings import PREFIX
from workers.engines import processes
from workers.engines.pidfd import open_pidfd
from workers.node.lock import NodeLock
from workers.node.overdue import clear_limit, write_limit

log = structlog.get_logger(__name__)

OUTPUT_BYTES_MAX = 65_536
READ_BYTES = 65_536
LAST_LINES = 20
LAST_LINES_CHARACTERS_MAX = 4_000
# A command's end wakes us at once; a revocation is seen within this.
LOOK_SECONDS = 0.05
POLITE_SECONDS = 3.0
KILL_SECONDS = 10.0
GROUP_SECONDS = 2.0
GROUP_LOOK_SECONDS = 0.002
# A full pipe and more; a daemon that left the group could print for ever.
LAST_READS_MAX = 20


@dataclass(frozen=True, slots=True)
class CompletedCommand:
    """A command that ended well, and the end of what it printed."""

    argv: tuple[str, ...]
    output: str


def run(
    argv: Sequence[str], *, lock: NodeLock, stop: Event, seconds: float, first: Callable[[], None] | None = None
) -> CompletedCommand:
    """Run a program to its end, as a process group of its own that inherits the run's node lock.

    However this returns, no process of the group is left: TERM, then KILL.

    Args:
        argv: The program and its arguments.
        lock: Its descriptor is inherited, so that the lock lasts as long as the command.
        stop: Set from another thread to end the command.
        seconds: Its time limit.
        first: Done while the program starts, which then waits for a byte on its standard input; if it fails, that is
            raised, and the program finds its input at an end.

    Raises:
        EngineRevoked: `stop` was set before the command ended.
        EngineUnavailable: It exited with another code than 0, or reached its limit.
        EngineUnsupported: There is no such program.
    """
    if stop.is_set():
        raise EngineRevoked(f"{_program(argv)} was not started: the checkpoint was revoked", argv=list(argv))
    command = _start(argv, lock, waits=first is not None)
    try:
        if first is not None:
            first()
            command.let_go()
        # If this worker dies, others find it there.
        write_limit(lock.fd, group=command.process.pid, seconds=seconds)
        ended = command.wait(stop, seconds)
    finally:
        command.end()
        clear_limit(lock.fd)
    if ended:
        return command.completed()
    if stop.is_set():
        raise EngineRevoked(f"{_program(argv)} was ended: the checkpoint was revoked", **command.facts())
    raise EngineUnavailable(
        f"{_program(argv)} ran longer than its limit of {seconds:g} s and was ended; "
        "if it needs more, raise CHECKPOINT_ENGINE_TIMEOUT_MS.",
        **command.facts(),
    )


def _program(argv: Sequence[str]) -> str:
    return PurePath(argv[0]).name


def _start(argv: Sequence[str], lock: NodeLock, *, waits: bool) -> "_Command":
    output_fd, write_fd = os.pipe()
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if waits else subprocess.DEVNULL,
            stdout=write_fd,
            stderr=subprocess.STDOUT,
            # A session too: without a terminal nothing can stop to ask for a password.
            start_new_session=True,
            pass_fds=(lock.fd,),
            env=_environment(os.environ),
        )
    except OSError as error:
        os.close(output_fd)
        message = f"{argv[0]} cannot be started: {error.strerror}"
        if isinstance(error, FileNotFoundError | PermissionError):
            message += ". Install it on this node or correct its path."
            raise EngineUnsupported(message, argv=list(argv)) from error
        raise EngineUnavailable(message, argv=list(argv)) from error
    finally:
        os.close(write_fd)
    os.set_blocking(output_fd, False)
    return _Command(argv, process, output_fd)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    # Our settings hold passwords, and a command that carried the mark would pass for a workload.
    return {name: value for name, value in environment.items() if not name.startswith(PREFIX)}


@dataclass(slots=True)
class _Command:
    """A program that was started, and what it printed so far."""

    argv: Sequence[str]
    process: subprocess.Popen[bytes]
    output_fd: int
    output: bytearray = field(default_factory=bytearray)

    def let_go(self) -> None:
        """Write the byte that it waits for; nothing happens if it has ended."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError), self.process.stdin as its_input:
                its_input.write(b"\n")

    def wait(self, stop: Event, seconds: float) -> bool:
        """Read its output until it ended; false when `stop` was set or the limit reached before."""
        limit = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector, open_pidfd(self.process.pid) as exit_fd:
            selector.register(self.output_fd, selectors.EVENT_READ)
            if exit_fd is not None:
                selector.register(exit_fd, selectors.EVENT_READ)
            while not self._has_exited():
                if stop.is_set() or time.monotonic() >= limit:
                    return False
                for key, _ in selector.select(LOOK_SECONDS):
                    if key.fd != exit_fd and self._read() == b"":
                        selector.unregister(key.fileobj)
        return True

    def end(self) -> None:
        """Leave no process of the group, and no zombie.

        The leader is reaped last: until then its pid, which is the group's id, cannot be given to others.
        """
        if self.process.stdin is not None:
            self.process.stdin.close()
        if not self._has_exited():
            self._signal(signal.SIGTERM)
            self._wait_exit(POLITE_SECONDS)
        self._signal(signal.SIGKILL)
        has_exited = self._wait_exit(KILL_SECONDS)
        for _ in range(LAST_READS_MAX):
            if not self._read():
                break
        os.close(self.output_fd)
        if has_exited:
            self.process.wait()
        if not has_exited or not self._wait_group(GROUP_SECONDS):
            # Uninterruptible, on a dead disk for example: it keeps the lock that it inherited, so nobody
            # acts on the run beside it.
            log.warning("command.left", pid=self.process.pid, argv=list(self.argv))

    def completed(self) -> CompletedCommand:
        """Return it, if it ended well."""
        code = self.process.returncode
        if code == 0:
            return CompletedCommand(tuple(self.argv), self._text())
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        facts = self.facts()
        said = str(facts["output"]).rpartition("\n")[2]
        message = f"{_program(self.argv)} {how}: {said}" if said else f"{_program(self.argv)} {how}"
        raise EngineUnavailable(message, exit_code=code, **facts)

    def facts(self) -> dict[str, object]:
        """Return what an error says of it."""
        lines = "\n".join(self._text().splitlines()[-LAST_LINES:])
        return {"argv": list(self.argv), "output": lines[-LAST_LINES_CHARACTERS_MAX:]}

    def _text(self) -> str:
        return self.output.decode(errors="replace")

    def _read(self) -> bytes | None:
        """Read what it printed: empty at its end, None when there is nothing now."""
        try:
            read = os.read(self.output_fd, READ_BYTES)
        except BlockingIOError:
            return None
        self.output += read
        del self.output[:-OUTPUT_BYTES_MAX]
        return read

    def _has_exited(self) -> bool:
        """Whether the leader has ended, without reaping it."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, options) is not None

    def _wait_exit(self, seconds: float) -> bool:
        """Wait for the leader's end; false when it lives on."""
        limit = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector, open_pidfd(self.process.pid) as exit_fd:
            if exit_fd is not None:
                selector.register(exit_fd, selectors.EVENT_READ)
            while not self._has_exited():
                if time.monotonic() >= limit:
                    return False
                selector.select(LOOK_SECONDS)
        return True

    def _signal(self, number: signal.Signals) -> None:
        # Not permitted: all of the group has become another user's; then the wait for its end says so.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _wait_group(self, seconds: float) -> bool:
        """Wait until the killed rest of the group has ended; false when it has not."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            try:
                os.killpg(self.process.pid, 0)
            except (ProcessLookupError, PermissionError):
                # None is left; or the id was given to somebody else's processes already.
                return True
            # Orphans that have ended stay members until init asks for them, which may take it a while.
            if not processes.group_lives(self.process.pid):
                return True
            time.sleep(GROUP_LOOK_SECONDS)
        return False

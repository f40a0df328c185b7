"""A server in a data folder, on a free loopback port: started, stopped, killed and waited for.

What is a server's own (data, port, password) stays in its folder, so that a second start goes on with it.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import DeferredCheckpointError
from workers.cli import child

HOST = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections: a client that connects while a
# server restarts could else be given the server's own port.
PORTS = range(15_000, 32_000)
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.01


class ServerFailed(DeferredCheckpointError):
    """An embedded server could not be prepared, ended by itself or was not ready in time."""

    code = "server-failed"


@dataclass(slots=True)
class EmbeddedServer:
    """One server of a data folder: what to run, and a process of its own if `start` is called.

    Args:
        name: `postgres` or `redis`.
        url: Where clients find it, with its password.
        argv: The whole command, launcher included.
        port: Its loopback port.
        stop_signal: Ends it as fast as is clean.
        log: What it prints when it was started here.
        greet: Whether a fresh connection finds the server ready.
    """

    name: str
    url: str
    argv: list[str]
    port: int
    stop_signal: signal.Signals
    log: Path
    greet: Callable[[socket.socket], bool]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the server; it dies with this process if started from its main thread.

        The kernel takes the thread for the parent: from another one the server would die too soon.
        """
        argv = self.argv
        if threading.current_thread() is not threading.main_thread():
            argv = without_death(argv)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, child.PARENT: str(os.getpid())},
                start_new_session=True,
            )

    def stop(self, sign: signal.Signals | None = None, *, seconds: float = STOP_SECONDS) -> None:
        """End the server and wait for that; killed if it takes longer than `seconds`.

        Args:
            sign: Another signal than `stop_signal`; for Postgres SIGTERM is smart, SIGINT fast and SIGQUIT
                the immediate shutdown.
            seconds: How long it may take.
        """
        if self.process is None:
            return
        self.process.send_signal(sign or self.stop_signal)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.wait()
        self.process = None

    def kill(self) -> None:
        """End the server with SIGKILL: it can write nothing any more."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop if it runs, start on the same port and data, and wait until it is ready."""
        self.stop()
        self.start()
        self.wait_ready()

    def is_ready(self) -> bool:
        """Return whether the server answers now."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                return self.greet(connection)
        except OSError:
            return False

    def wait_ready(self, *, seconds: float = READY_SECONDS) -> None:
        """Wait until the server answers.

        Raises:
            ServerFailed: It ended meanwhile, or did not answer within `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            code = self.process.poll() if self.process else None
            if code is not None:
                raise ServerFailed(f"{self.name} ended with exit code {code} while it started; see {self.log}")
            if time.monotonic() >= deadline:
                raise ServerFailed(f"{self.name} was not ready within {seconds:g} s; see {self.log}")
            time.sleep(POLL_SECONDS)


def without_death(argv: list[str]) -> list[str]:
    """Return a launcher's command line without its `--die-with SIGNAL`."""
    at = argv.index("--die-with")
    return argv[:at] + argv[at + 2 :]


def launcher(*options: str, death: signal.Signals) -> list[str]:
    """Return the command that a program's own argument list is put behind."""
    # -S and -I: no site-packages and no variables of Python's own, so it starts in a few milliseconds.
    return [sys.executable, "-S", "-I", child.__file__, "--die-with", death.name, *options, "--"]


def is_free(port: int) -> bool:
    """Return whether a server could listen on a loopback port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a loopback port on which nobody listens."""
    # 1,000 tries: if none is free there, the machine has other trouble.
    tried = (secrets.choice(PORTS) for _ in range(1_000))
    port = next(filter(is_free, tried), None)
    if port is None:
        raise ServerFailed(f"no free loopback port between {PORTS.start} and {PORTS.stop}")
    return port


@dataclass(frozen=True, slots=True)
class Access:
    """How a server of a folder is reached."""

    port: int
    password: str


def keep_access(folder: Path) -> Access:
    """Return the port and password of a server's folder: those of the last start, or new ones.

    The port changes when another program has taken it meanwhile.
    """
    kept = folder / "access.json"
    try:
        values = json.loads(kept.read_text())
    except FileNotFoundError:
        values = {"port": free_port(), "password": secrets.token_urlsafe(24)}
    access = Access(int(values["port"]), str(values["password"]))
    if not is_free(access.port):
        access = Access(free_port(), access.password)
    write_private(kept, json.dumps({"port": access.port, "password": access.password}))
    return access


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; only its owner may read it."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.rename(path)

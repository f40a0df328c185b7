"""Supervisor as a child: it starts programs, starts them again when they die, and stops them in order."""

import hashlib
import http.client
import os
import shutil
import stat
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any, cast

from shared.errors import DeferredCheckpointError
from workers.cli import child
from workers.cli.programs import Group, configuration
from workers.cli.servers import POLL_SECONDS, launcher, write_private

# A socket's path has 107 bytes at most; Supervisor binds it under a longer name first (`.` and its pid).
SOCKET_PATH_BYTES = 90
CONTROL_SECONDS = 10.0
RUNNING = "RUNNING"


class SupervisorFailed(DeferredCheckpointError):
    """Supervisor did not start, or does not answer."""

    code = "supervisor-failed"


@dataclass(frozen=True, slots=True)
class State:
    """What Supervisor says of a program."""

    name: str
    group: str
    state: str
    pid: int


def short_folder(folder: Path) -> Path:
    """Return a private folder of a short name for a folder of a long one, always the same.

    Raises:
        SupervisorFailed: Someone else has made a thing of that name.
    """
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path("/tmp", f"checkpoints-{name}")  # noqa: S108 - others may make it too, so its owner is looked at
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SupervisorFailed(f"{short} is not a private folder of ours; remove it")
    return short


class Supervisor:
    """A running Supervisor. It dies with this process, and what it started dies with it.

    Args:
        groups: What it looks after.
        folder: The data folder: `logs` and `run` lie in it.
        environment: Of all programs; secrets are safer there than on command lines.
        lock: A file descriptor that stays open as long as Supervisor lives.
    """

    def __init__(self, groups: list[Group], *, folder: Path, environment: Mapping[str, str], lock: int) -> None:
        logs, run = folder / "logs", folder / "run"
        for needed in (logs, run):
            needed.mkdir(exist_ok=True, mode=0o700)
        self.socket = run / "supervisor.sock"
        self.spare_folder: Path | None = None
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES:
            self.spare_folder = short_folder(folder)
            self.socket = self.spare_folder / "supervisor.sock"
        settings = run / "supervisord.conf"
        write_private(settings, configuration(groups, logs=logs, run=run, socket=self.socket))
        self.log = logs / "supervisord.log"
        with (logs / "supervisord.out").open("wb") as out:
            self.process = subprocess.Popen(
                [
                    # Its children then die at once too, each by its own signal: a stop in order could
                    # take long, and nobody would see it.
                    *launcher(death=SIGKILL),
                    *(sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(settings)),
                ],
                # Supervisor closes what it inherits, but its input.
                stdin=lock,
                stdout=out,
                stderr=out,
                env={**environment, child.PARENT: str(os.getpid())},
                # Ctrl-C on a terminal is for us alone: it would reach all at once, not in order.
                start_new_session=True,
            )

    def wait_control(self) -> None:
        """Wait until Supervisor can be asked.

        Raises:
            SupervisorFailed: It ended, or does not answer in time.
        """
        deadline = time.monotonic() + CONTROL_SECONDS
        while True:
            try:
                self.call("supervisor.getState")
            except (OSError, http.client.HTTPException) as error:
                if self.process.poll() is not None or time.monotonic() >= deadline:
                    raise SupervisorFailed(f"Supervisor did not start; see {self.log}") from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def call(self, method: str, *arguments: object) -> Any:
        """Call one of Supervisor's methods over its socket; a connection for each call."""
        # Its import takes 0.1 s, and it has no types.
        import supervisor.xmlrpc  # noqa: PLC0415

        transport = cast("Any", supervisor.xmlrpc).SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy, method)(*arguments)

    def states(self) -> list[State]:
        """Return the state of each program.

        Raises:
            SupervisorFailed: Supervisor does not answer.
        """
        try:
            infos = cast("list[dict[str, Any]]", self.call("supervisor.getAllProcessInfo"))
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorFailed(f"Supervisor does not answer; see {self.log}") from error
        return [State(info["name"], info["group"], info["statename"], info["pid"]) for info in infos]

    def start_group(self, name: str) -> None:
        """Start the programs of a group, without waiting for them."""
        self.call("supervisor.startProcessGroup", name, False)  # noqa: FBT003 - no names in XML-RPC

    def is_alive(self) -> bool:
        """Return whether Supervisor runs."""
        return self.process.poll() is None

    def stop(self, *, seconds: float) -> None:
        """Stop all programs in order and end; if that takes longer than `seconds`, all are killed."""
        try:
            # Wakes it at once; a signal is only seen at the end of its turn, up to 1 s later.
            self.call("supervisor.shutdown")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.spare_folder is not None:
            shutil.rmtree(self.spare_folder, ignore_errors=True)

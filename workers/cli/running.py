"""The data folder as others see it: who uses it, and `up.env`, which says how to reach what runs there."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import DeferredCheckpointError

# `running` holds the lock for a moment too, and Supervisor for one after an `up` that was killed.
GLANCE_SECONDS = 1.0
POLL_SECONDS = 0.05
PID_BYTES = 20


class AlreadyRunning(DeferredCheckpointError):
    """Another `up` uses the data folder."""

    code = "already-running"


def running(data: Path) -> dict[str, str] | None:
    """Return what `up.env` says if an `up` runs on the data folder and is ready, else None."""
    folder = data.resolve()
    try:
        lines = (folder / "up.env").read_text().splitlines()
        lock = os.open(folder / "up.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if is_locked(lock, fcntl.LOCK_SH) or not is_process(owner(lock)):
            return None  # it was killed and could not remove the file
    finally:
        os.close(lock)
    return dict(line.split("=", 1) for line in lines)


@contextmanager
def only_one(folder: Path) -> Generator[int]:
    """Hold the folder's lock; Supervisor inherits it, and holds it as long as it lives.

    Raises:
        AlreadyRunning: Another `up` holds it.
    """
    lock = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        began = time.monotonic()
        while not is_locked(lock, fcntl.LOCK_EX):
            if time.monotonic() - began > GLANCE_SECONDS:
                pid = owner(lock)
                raise AlreadyRunning(
                    f"another `checkpoints up` (process {pid}) uses {folder}; "
                    "stop it first, or choose another folder with --data",
                    pid=pid,
                )
            time.sleep(POLL_SECONDS)
        os.pwrite(lock, f"{os.getpid():<{PID_BYTES}}".encode(), 0)
        yield lock
    finally:
        os.close(lock)


def is_locked(lock: int, how: int) -> bool:
    """Take a lock if it is free; return whether it is ours now."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def owner(lock: int) -> int:
    """Return the process id that the last `up` wrote into its lock; 0 if it has not yet."""
    return int(os.pread(lock, PID_BYTES, 0).strip() or b"0")


def is_process(pid: int) -> bool:
    """Return whether a process of that number runs."""
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

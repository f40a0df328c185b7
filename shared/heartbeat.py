"""Heartbeat files: one for each worker process, written beside and renamed, so that no reader sees half of one.

A file tells of its process only as long as that lives: the pid with its start time tells it from a later process of
the same pid. Read by a command that has to start fast, so nothing heavy is imported here.
"""

import os
import stat
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from shared.errors import Misconfigured

BEAT_SECONDS: Final = 1.0
STALE_SECONDS: Final = 15.0  # many beats: a busy machine is no dead worker
# Fields of /proc/PID/stat behind the name: state, and the start in ticks since the boot.
_STATE, _STARTED = 0, 19
_DEAD: Final = frozenset({"Z", "X", "x"})


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker process last said of itself.

    Args:
        kind: Of the worker.
        pid: Its process, in the pid namespace of whoever wrote it.
        started_at_ticks: Field 22 of the process's stat.
        at: When it said so.
        alive: Every loop turns; if not, only a new start helps.
        ready: It can do its work, no server is away.
        problems: Why not, one a loop.
    """

    kind: str
    pid: int
    started_at_ticks: int
    at: datetime
    alive: bool
    ready: bool
    problems: list[str]


def default_folder() -> Path:
    """Return where heartbeats are if no setting says otherwise."""
    return Path(tempfile.gettempdir()) / f"checkpoint-health-{os.getuid()}"


def open_folder(folder: Path) -> None:
    """Make the folder if need be.

    Raises:
        Misconfigured: It cannot be made, or others could write heartbeats into it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Misconfigured(
            f"the health folder {folder} cannot be used: {error.strerror}. Set CHECKPOINT_HEALTH_FOLDER to another.",
            folder=str(folder),
        ) from error
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or others:
        raise Misconfigured(
            f"the health folder {folder} is not a folder that only this user can write. "
            "Set CHECKPOINT_HEALTH_FOLDER to one.",
            folder=str(folder),
        )


def path_of(folder: Path, kind: str, pid: int) -> Path:
    """Return the file of a process."""
    return folder / f"{kind}.{pid}.json"


def write(folder: Path, beat: Heartbeat) -> None:
    """Write a process's heartbeat in place of its last.

    Raises:
        OSError: The folder is gone or full.
    """
    path = path_of(folder, beat.kind, beat.pid)
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(beat))
    beside.replace(path)


def read_all(folder: Path, kind: str) -> list[Heartbeat]:
    """Return the heartbeats of a kind, also those of processes that are gone; what cannot be read is left out."""
    found: list[Heartbeat] = []
    for path in sorted(folder.glob(f"{kind}.*.json")):
        with suppress(OSError, msgspec.MsgspecError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Heartbeat))
    return found


def remove_gone(folder: Path, kind: str) -> None:
    """Remove the files of processes of a kind that are gone."""
    for beat in read_all(folder, kind):
        if not lives(beat):
            path_of(folder, kind, beat.pid).unlink(missing_ok=True)


def lives(beat: Heartbeat) -> bool:
    """Return whether the very process that wrote a heartbeat still runs."""
    return started_at_ticks(beat.pid) == beat.started_at_ticks


def started_at_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None: it does not run."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    # The name in brackets may hold anything, also brackets.
    fields = text.rpartition(")")[2].split()
    # A zombie does nothing any more, its parent has only not asked yet.
    return None if fields[_STATE] in _DEAD else int(fields[_STARTED])


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)

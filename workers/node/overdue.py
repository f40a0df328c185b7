"""A command that outlives its worker, and its limit: the limit stands in the lock file that the command holds.

The worker that started a command ends it in time. Was that worker killed, the command goes on and keeps the run's lock,
as it must; but one that hangs would keep it for ever, and the run would stand. So whoever finds the lock held reads
until when, and ends a command that is past it.
"""

import os
import signal
import time
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from workers.engines import processes

log = structlog.get_logger(__name__)

# A worker that lives ends its command before: TERM, KILL, and the waits for both.
SPARE_SECONDS: Final = 20.0
BYTES_MAX: Final = 1_024


class Limit(msgspec.Struct, frozen=True):
    """A command's process group, and until when it may run, by the machine's monotonic clock in seconds."""

    group: int
    started_at_ticks: int
    until: float


def write_limit(fd: int, *, group: int, seconds: float) -> None:
    """Write into a lock file that is held who inherited it, and for how long."""
    stat = processes.read_stat(processes.PROC / str(group))
    if stat is not None:
        limit = Limit(group, stat.started_at_ticks, time.monotonic() + seconds + SPARE_SECONDS)
        os.pwrite(fd, msgspec.json.encode(limit).ljust(BYTES_MAX), 0)


def clear_limit(fd: int) -> None:
    """Say that the command has ended."""
    os.ftruncate(fd, 0)


def end_if_overdue(fd: int) -> None:
    """End the command that holds a lock file, if it is past its limit; the lock is free soon after."""
    try:
        limit = msgspec.json.decode(os.pread(fd, BYTES_MAX, 0), type=Limit)
    except msgspec.MsgspecError:
        return  # no command holds it, but a worker
    if time.monotonic() < limit.until:
        return
    leader = processes.read_stat(processes.PROC / str(limit.group))
    if leader is not None and leader.started_at_ticks != limit.started_at_ticks:
        return  # the group is gone, and its number is another process's
    log.warning("command.overdue", group=limit.group)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(limit.group, signal.SIGKILL)

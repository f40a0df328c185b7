"""A process named by a descriptor, which never comes to mean another process with the same pid."""

import errno
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

# Kernels before 5.3, and sandboxes that forbid the call: without it a pid has to do.
NO_PIDFD = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL})


@contextmanager
def open_pidfd(pid: int) -> Generator[int | None]:
    """Open a process; None where the system has no such descriptors. It is readable once the process ended.

    Raises:
        ProcessLookupError: There is no process with this pid.
    """
    if sys.platform != "linux":
        yield None
        return
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in NO_PIDFD:
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def send_signal(pid: int, fd: int | None, number: signal.Signals) -> None:
    """Signal the process that was opened.

    Raises:
        ProcessLookupError: It has ended.
        PermissionError: It belongs to another user.
    """
    if fd is not None and sys.platform == "linux":
        signal.pidfd_send_signal(fd, number)
    else:
        os.kill(pid, number)

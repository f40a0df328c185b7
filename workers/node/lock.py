"""One lock file per run on its node: whoever calls an engine for a run holds it.

Fencing in Postgres does not fence a kernel: a worker whose claim was lost could still freeze or thaw. So
every engine call happens under this lock, and the claim is read again once it is held.

The lock is `flock`, which belongs to the open file description, not to the process: a command that
inherits the descriptor keeps the lock for as long as it runs, also when its worker was killed -9.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from shared.errors import EngineUnavailable
from workers.node.overdue import end_if_overdue
from workers.node.private import private_folder

log = structlog.get_logger(__name__)

NAME_LENGTH = 32
AGENT_NAME = "agent"
# Each turn needs another holder that released between our open and our flock; more in a row is no race.
OPEN_TURNS_MAX = 100
FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class NodeLock:
    """A lock that is held; a command that inherits `fd` holds it too."""

    fd: int


@contextmanager
def node_lock(folder: Path, run_id: str) -> Generator[NodeLock | None]:
    """Hold the node's lock of a run; None when somebody else has it. Never waits.

    Args:
        folder: The node's folder of lock files, the same for all of its workers.
        run_id: Data only: the file's name is made from its hash.

    Raises:
        EngineUnavailable: The lock file cannot be opened or locked.
        Misconfigured: Others could change the folder.
    """
    name = hashlib.sha256(run_id.encode()).hexdigest()[:NAME_LENGTH]
    with _locked(folder, name) as lock:
        yield lock


@contextmanager
def agent_lock(folder: Path) -> Generator[NodeLock | None]:
    """Be the node's one agent for as long as the block runs; None when another worker is.

    Raises:
        EngineUnavailable: The lock file cannot be opened or locked.
        Misconfigured: Others could change the folder.
    """
    with _locked(folder, AGENT_NAME) as lock:
        yield lock


@contextmanager
def _locked(folder: Path, name: str) -> Generator[NodeLock | None]:
    with private_folder(folder, setting="CHECKPOINT_LOCK_FOLDER") as folder_fd:
        fd = _try_lock(folder_fd, name)
        if fd is None:
            yield None
            return
        try:
            yield NodeLock(fd)
        finally:
            # No LOCK_UN: it would take the lock from a command that inherited the descriptor and still runs.
            os.close(fd)
            _remove_if_free(folder_fd, name)


def _try_lock(folder_fd: int, name: str) -> int | None:
    """Return a descriptor that holds the lock, or None when it is held elsewhere."""
    for _ in range(OPEN_TURNS_MAX):
        try:
            fd = os.open(name, FILE_FLAGS, 0o600, dir_fd=folder_fd)
        except OSError as error:
            raise _unavailable(name, error) from error
        if not _flock(fd, name):
            end_if_overdue(fd)
            os.close(fd)
            return None
        # Its last holder may have removed the file between our open and our flock: a lock on a file
        # without a name keeps nobody out.
        if _is_named(folder_fd, name, fd):
            return fd
        os.close(fd)
    log.warning("node_lock.contended", name=name, turns=OPEN_TURNS_MAX)
    return None


def _flock(fd: int, name: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        os.close(fd)
        raise _unavailable(name, error) from error
    return True


def _is_named(folder_fd: int, name: str, fd: int) -> bool:
    try:
        named = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def _remove_if_free(folder_fd: int, name: str) -> None:
    """Remove the lock file unless somebody holds it, so that files do not pile up.

    It is locked anew, through a description of its own: only that proves that no command has kept the
    descriptor. Removed under a command that runs, the next opener would make a second lock beside it.
    """
    try:
        fd = os.open(name, FILE_FLAGS & ~os.O_CREAT, dir_fd=folder_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("node_lock.left", name=name, problem=error.strerror)
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_named(folder_fd, name, fd):
            os.unlink(name, dir_fd=folder_fd)
    except BlockingIOError:
        # A command that outlives its worker's call, or the next holder: whoever is last removes it.
        return
    except OSError as error:
        log.warning("node_lock.left", name=name, problem=error.strerror)
    finally:
        os.close(fd)


def _unavailable(name: str, error: OSError) -> EngineUnavailable:
    kind = "is a link, expected a file" if error.errno == errno.ELOOP else "cannot be locked"
    return EngineUnavailable(f"the lock file {name} {kind}: {error.strerror}", name=name)

"""Run a checkpoint of a container whose tasks are stopped, and free criu from a kernel's dead end meanwhile.

    python checkpointing.py FREEZER_STATE PID CRICTL checkpoint ...

The runtime freezes the container's cgroup before criu attaches to its tasks. In a cgroup of the first version a task
that is both stopped and frozen cannot be attached to: the kernel waits until the task says that it stands, which a
frozen one never does. So once criu hangs there, the cgroup is thawed, as criu itself does a moment later. The tasks
stay stopped: none runs. It is a program of its own, so that it does this also when the worker that started it is gone.
Run by its path and without `site`: only the standard library, and of that little, since each checkpoint waits for its
start. FREEZER_STATE is empty where there is none.
"""

import os
import select
import sys

PAUSE_SECONDS = 0.002
IGNORED_BY_PYTHON = {13, 25}  # SIGPIPE, SIGXFSZ; the module signal loads for as long as all the rest


def main(state_file: str, pid: str, *command: str) -> int:
    """Return what the command ended with."""
    # The run's lock lies in an inherited descriptor: the command keeps it too.
    checkpoint = os.posix_spawnp(command[0], command, os.environ, setsigdef=IGNORED_BY_PYTHON)
    end = os.pidfd_open(checkpoint)
    # Once: after the dump criu freezes the cgroup again, for the runtime to thaw it.
    while state_file and not select.select([end], [], [], PAUSE_SECONDS)[0]:
        if is_frozen(state_file) and is_traced(pid):
            write(state_file, b"THAWED")
            break
    code = os.waitstatus_to_exitcode(os.waitpid(checkpoint, 0)[1])
    return code if code >= 0 else 128 - code


def is_frozen(state_file: str) -> bool:
    """Whether all of the cgroup is frozen."""
    return read(state_file).strip() == b"FROZEN"


def is_traced(pid: str) -> bool:
    """Whether criu has attached to the container's first process, or is about to."""
    status = read(f"/proc/{pid}/status")
    return bool(status) and b"\nTracerPid:\t0\n" not in status


def read(path: str) -> bytes:
    """Return what is in a file; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def write(path: str, content: bytes) -> None:
    """Write to a file that is there."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, content)
    finally:
        os.close(file)


if __name__ == "__main__":
    # At once: an interpreter that clears up takes longer than its start.
    os._exit(main(*sys.argv[1:]))

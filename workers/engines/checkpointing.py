"""Run a checkpoint of a container whose tasks are stopped, and free criu from a kernel's dead end meanwhile.

    python checkpointing.py FREEZER_STATE PID CRICTL checkpoint ...

The runtime freezes the container's cgroup before criu attaches to its tasks. In a cgroup of the first version a task
that is both stopped and frozen cannot be attached to: the kernel waits until the task says that it stands, which a
frozen one never does. So once criu hangs there, the cgroup is thawed, as criu itself does a moment later. The tasks
stay stopped: none runs. It is a program of its own, so that it does this also when the worker that started it is gone.
Run by its path and without `site`: only the standard library. FREEZER_STATE is empty where there is none.
"""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PAUSE_SECONDS = 0.005


def main(state_file: str, pid: str, *command: str) -> int:
    """Return what the command ended with."""
    checkpoint = subprocess.Popen(command, close_fds=False)  # the run's lock lies in an inherited descriptor
    is_thawed = not state_file
    while True:
        with suppress(subprocess.TimeoutExpired):
            return checkpoint.wait(None if is_thawed else PAUSE_SECONDS)
        # Once: after the dump criu freezes the cgroup again, for the runtime to thaw it.
        if is_frozen(state_file) and is_traced(pid):
            Path(state_file).write_text("THAWED")
            is_thawed = True


def is_frozen(state_file: str) -> bool:
    """Whether all of the cgroup is frozen."""
    with suppress(OSError):
        return Path(state_file).read_text().strip() == "FROZEN"
    return False


def is_traced(pid: str) -> bool:
    """Whether criu has attached to the container's first process, or is about to."""
    with suppress(OSError):
        return "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text(errors="replace")
    return False


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

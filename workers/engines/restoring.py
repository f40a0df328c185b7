"""Run a restore to its end: it leaves a whole process tree, which stands, and a record of it; or nothing at all.

    python restoring.py RECORD PIDFILE CRIU restore ...

Whatever the restore forks becomes a child of this process when the one that forked it ends. So if the restore fails
or is killed, what it had restored until then is found and killed here; and when it succeeds, the record says who the
restored process is while nobody else can have its pid. Run by its path and without `site`: only the standard library.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
START_FIELD, PARENT_FIELD = 19, 1
PAUSE_SECONDS = 0.005


def main(record: str, pid_file: str, *command: str) -> int:
    """Restore; return 0, or what the restore ended with."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Blocked until the wait below: a signal must not come between the fork and our knowing of it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    # The run's lock lies in an inherited descriptor: the restore keeps it too.
    restore = subprocess.Popen(command, close_fds=False, preexec_fn=unblock)  # noqa: PLW1509 - one thread
    while restore.poll() is None:
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            # First: what it holds would run for a moment when it lets go.
            signal_all(descendants() - {restore.pid}, signal.SIGSTOP)
            restore.kill()
    if restore.returncode == 0:
        write_record(record, pid_file)
        return 0
    end_descendants()
    return restore.returncode if restore.returncode > 0 else 128 - restore.returncode


def unblock() -> None:
    """Let the restore hear signals as usual."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})


def write_record(record: str, pid_file: str) -> None:
    """Write down who was restored; the file is there as a whole, or not."""
    pid = int(Path(pid_file).read_text())
    new = Path(record + ".new")
    new.write_text(json.dumps({"pid": pid, "started_at_ticks": int(stat_of(pid)[START_FIELD])}))
    new.rename(record)


def end_descendants() -> None:
    """Kill what the restore had forked, until nothing of it is left."""
    while found := descendants():
        signal_all(found, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(PAUSE_SECONDS)


def signal_all(pids: set[int], number: signal.Signals) -> None:
    """Signal our descendants; until we ask how they ended, no other process has their pids."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def descendants() -> set[int]:
    """Return the pids of our descendants; orphans among them have become our children."""
    parents = {int(one.name): parent_of(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()}
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def parent_of(name: str) -> int:
    """Return the parent of a process; 0 when it has ended."""
    fields = stat_of(int(name))
    return int(fields[PARENT_FIELD]) if fields else 0


def stat_of(pid: int) -> list[str]:
    """Return the fields of a process' stat behind its name; none when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Run a restore to its end: it leaves a whole process tree, which stands, and a record of it; or nothing at all.

    python restoring.py RECORD PIDFILE CRIU restore ...

It begins when it has got a byte on its standard input; if that ends without one, nothing is restored.

Whatever the restore forks becomes a child of this process when the one that forked it ends. So if the restore fails
or is killed, what it had restored until then is found and killed here; and when it succeeds, the record says who the
restored process is while nobody else can have its pid.

Run by its path and without `site`: only the standard library, and of that little. A restore waits for this program if
its start takes longer than the fetch of a small image; with subprocess, json and pathlib it would take twice as long.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable

PR_SET_CHILD_SUBREAPER = 36
START_FIELD, PARENT_FIELD = 19, 1
IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
PAUSE_SECONDS = 0.005


def main(record: str, pid_file: str, *command: str) -> int:
    """Restore; return 0, or what the restore ended with."""
    if not os.read(0, 1):
        return 1
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Blocked until the wait below: a signal must not come between the fork and our knowing of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    # The run's lock lies in an inherited descriptor: the restore keeps it too.
    # SIGTERM comes to the whole group; it is ours alone to hear.
    deaf = before | {signal.SIGTERM}
    restore = os.posix_spawnp(command[0], command, os.environ, setsigmask=deaf, setsigdef=IGNORED_BY_PYTHON)
    while (status := ended(restore)) is None:
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            # First: what it holds would run for a moment when it lets go.
            signal_all([pid for pid in descendants() if pid != restore], signal.SIGSTOP)
            os.kill(restore, signal.SIGKILL)
    if status == 0:
        write_record(record, pid_file)
        return 0
    end_descendants()
    return status if status > 0 else 128 - status


def ended(restore: int) -> int | None:
    """Return how the restore ended, below 0 by a signal; None while it runs."""
    pid, status = os.waitpid(restore, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def write_record(record: str, pid_file: str) -> None:
    """Write down who was restored; the file is there as a whole, or not."""
    with open(pid_file) as file:
        pid = int(file.read())
    with open(record + ".new", "w") as file:
        file.write(f'{{"pid": {pid}, "started_at_ticks": {int(stat_of(pid)[START_FIELD])}}}')
    os.rename(record + ".new", record)


def end_descendants() -> None:
    """Kill what the restore had forked, until nothing of it is left.

    Children first: the end of a parent makes the kernel continue stopped children that have no other tie to their
    session, and one that ignores SIGHUP would run until its turn came.
    """
    while found := descendants():
        signal_all(reversed(found), signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(PAUSE_SECONDS)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal our descendants; until we ask how they ended, no other process has their pids."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def descendants() -> list[int]:
    """Return the pids of our descendants, parents before children; orphans among them have become our children."""
    parents = {int(name): parent_of(name) for name in os.listdir("/proc") if name.isdecimal()}
    found = [os.getpid()]
    for parent in found:  # which grows meanwhile
        found += [pid for pid, its in parents.items() if its == parent and pid not in found]
    return found[1:]


def parent_of(name: str) -> int:
    """Return the parent of a process; 0 when it has ended."""
    fields = stat_of(int(name))
    return int(fields[PARENT_FIELD]) if fields else 0


def stat_of(pid: int) -> list[str]:
    """Return the fields of a process' stat behind its name; none when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return []


if __name__ == "__main__":
    # At once: an interpreter that clears up takes longer than all of the above.
    os._exit(main(*sys.argv[1:]))

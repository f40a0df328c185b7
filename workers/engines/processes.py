"""A workload's processes as /proc shows them: who they are, whether they stand, and a signal for one of them.

A process is named by its pid and its start time, so that a pid that is used again is never touched.
"""

import os
import signal
import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import EngineUnsupported
from workers.engines.pidfd import open_pidfd, send_signal

PROC = Path("/proc")
MARK = b"CHECKPOINT_WORKLOAD=1"
STOPPED = "T"
# So a process looks also that a cgroup of the first version keeps frozen.
UNINTERRUPTIBLE = "D"
# Ended; only its parent has not asked how. Nothing of it runs or could.
ENDED = frozenset({"Z", "X", "x"})
OWN_MEMORY = ("RssAnon", "RssShmem", "VmSwap")
# The kernel shows an empty environment for a moment while a program is being started.
ENVIRONMENT_READS_MAX = 100
ENVIRONMENT_PAUSE_SECONDS = 0.001

# Fields of /proc/<pid>/stat, counted from the one behind the name (field 3, the state).
STAT_BYTES_MAX = 4096
STATE_FIELD, PARENT_FIELD, GROUP_FIELD, START_FIELD = 0, 1, 2, 19


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told from any other that has or had its pid."""

    pid: int
    started_at_ticks: int


@dataclass(frozen=True, slots=True)
class Stat:
    """What a stat file says of a process or a thread."""

    state: str
    parent: int
    group: int
    started_at_ticks: int


def read_stat(folder: Path | str) -> Stat | None:
    """Read the stat of a process' or a thread's folder; None when it has ended."""
    try:
        # Read for every process of the node: a file object would cost three times as much.
        fd = os.open(f"{folder}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        text = os.read(fd, STAT_BYTES_MAX)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    # The name stands in parentheses and may itself hold spaces and parentheses: only the last one ends it.
    fields = text.rpartition(b")")[2].split()
    return Stat(
        state=fields[STATE_FIELD].decode(),
        parent=int(fields[PARENT_FIELD]),
        group=int(fields[GROUP_FIELD]),
        started_at_ticks=int(fields[START_FIELD]),
    )


def exists(process: Process) -> bool:
    """Whether the process holds its pid: it lives, or its parent has not asked yet how it ended."""
    stat = read_stat(PROC / str(process.pid))
    return stat is not None and stat.started_at_ticks == process.started_at_ticks


def is_alive(process: Process) -> bool:
    """Whether the process exists and any thread of it has not ended."""
    return any(state not in ENDED for state in thread_states(process))


def is_stopped(process: Process) -> bool:
    """Whether nothing of the process runs: every thread that has not ended is stopped."""
    states = [state for state in thread_states(process) if state not in ENDED]
    return bool(states) and all(state == STOPPED for state in states)


def threads_of(process: Process) -> list[int]:
    """Return the ids of its threads, that of the first is its pid; none when the process is gone."""
    try:
        threads = [int(task.name) for task in (PROC / str(process.pid) / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return threads if exists(process) else []


def thread_states(process: Process) -> list[str]:
    """Return the state of each thread; none when the process is gone or its pid belongs to another now."""
    folder = PROC / str(process.pid)
    try:
        threads = list((folder / "task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
    states = [stat.state for stat in map(read_stat, threads) if stat is not None]
    # Read last: had the pid changed hands while the threads were read, it would show here.
    return states if exists(process) else []


def is_marked(process: Process) -> bool:
    """Whether the process was started as a workload.

    Raises:
        EngineUnsupported: Its environment may not be read: it belongs to another user.
    """
    for _ in range(ENVIRONMENT_READS_MAX):
        try:
            environment = (PROC / str(process.pid) / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False
        except PermissionError as error:
            raise _foreign(process) from error
        if environment or not is_alive(process):
            return MARK in environment.split(b"\0") and exists(process)
        time.sleep(ENVIRONMENT_PAUSE_SECONDS)
    return False


def pids_in_namespaces(process: Process) -> list[int]:
    """Return its pid as each pid namespace sees it, from this one inwards; none when it has ended."""
    return [int(pid) for pid in _status(process).get("NSpid", "").split()]


def memory_of(process: Process) -> int:
    """Return the bytes that a dump of the process writes, at most: its own memory, also where that is swapped out."""
    status = _status(process)
    return sum(1024 * int(status[name].split()[0]) for name in OWN_MEMORY if name in status)


def family(root: Process) -> list[Process]:
    """Return the process and all of its descendants that live, parents before children.

    One look at a moving target: what is forked meanwhile may be missing. Once all that is known is
    stopped, another look finds the rest.
    """
    standing = _standing_family(root)
    return _any_family(root) if standing is None else standing


def _standing_family(root: Process) -> list[Process] | None:
    """Return a family that stands as a whole; None: it does not, or the kernel keeps no lists of children.

    The lists are exact as long as none of those who are listed ends while they are read (fs/proc/array.c), and each
    is seen to stand after it was listed and before its own list is read. A look at all processes of the node
    takes longer, the longer the more of them there are.
    """
    found = [root]
    for process in found:  # which grows meanwhile
        children = _children(process) if is_stopped(process) else None
        if children is None:
            return None
        found += children
    return found


def _children(process: Process) -> list[Process] | None:
    """Return the children of a process, as the kernel lists them by thread; None: it keeps no such lists."""
    children: list[Process] = []
    for thread in threads_of(process):
        try:
            listed = (PROC / str(process.pid) / "task" / str(thread) / "children").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        for pid in map(int, listed.split()):
            stat = read_stat(PROC / str(pid))
            if stat is None:
                return None
            children.append(Process(pid, stat.started_at_ticks))
    return children


def _any_family(root: Process) -> list[Process]:
    """Return a family, told by the parents of all processes of the node."""
    stats = _all_stats()
    if root.pid not in stats or stats[root.pid].started_at_ticks != root.started_at_ticks:
        return []
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, stat in stats.items():
        children[stat.parent].append(pid)
    # Each pid once: a pid that was used again while we looked could close a circle.
    found = {root.pid: None}
    queue = deque(found)
    while queue:
        fresh = [pid for pid in children[queue.popleft()] if pid not in found]
        found.update(dict.fromkeys(fresh))
        queue.extend(fresh)
    processes = [Process(pid, stats[pid].started_at_ticks) for pid in found]
    # A main thread that has ended is shown as Z while other threads of it may still run.
    return [it for it in processes if stats[it.pid].state not in ENDED or is_alive(it)]


def stopped_and_marked() -> list[Process]:
    """Return each process that stands and was started as a workload; its descendants inherit the mark."""
    marked: list[Process] = []
    for process in in_states({STOPPED}):
        # Another user's processes are never ours.
        with suppress(EngineUnsupported):
            if is_marked(process):
                marked.append(process)
    return marked


def in_states(states: Collection[str]) -> list[Process]:
    """Return each process whose first thread is in one of some states."""
    return [Process(pid, stat.started_at_ticks) for pid, stat in _all_stats().items() if stat.state in states]


def cgroups_of(process: Process) -> str:
    """Return a process' cgroups, a line for each hierarchy; nothing when it is gone."""
    try:
        text = (PROC / str(process.pid) / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text if exists(process) else ""


def of_container(container: str) -> list[Process]:
    """Return each process that lives in a container, by the id that names its cgroups; those below it included."""
    found = [Process(pid, stat.started_at_ticks) for pid, stat in _all_stats().items()]
    return [process for process in found if container in cgroups_of(process) and is_alive(process)]


def group_lives(group: int) -> bool:
    """Whether any process of a group has not ended."""
    return any(stat.group == group and stat.state not in ENDED for stat in _all_stats().values())


def ancestors(pid: int) -> Iterator[int]:
    """Yield the pid, its parent's and so on."""
    while pid:
        yield pid
        stat = read_stat(PROC / str(pid))
        pid = stat.parent if stat else 0


def signal_process(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens when it is gone.

    Raises:
        EngineUnsupported: It belongs to another user.
    """
    # Opened first, compared then: from the comparison on, the descriptor means this process alone.
    with suppress(ProcessLookupError), open_pidfd(process.pid) as fd:
        if not exists(process):
            return
        try:
            send_signal(process.pid, fd, number)
        except PermissionError as error:
            raise _foreign(process) from error


def _status(process: Process) -> dict[str, str]:
    try:
        text = (PROC / str(process.pid) / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines} if exists(process) else {}


def _all_stats() -> dict[int, Stat]:
    with os.scandir(PROC) as entries:
        pids = [entry.name for entry in entries if entry.name.isdecimal()]
    return {int(pid): stat for pid in pids if (stat := read_stat(f"{PROC}/{pid}"))}


def _foreign(process: Process) -> EngineUnsupported:
    return EngineUnsupported(
        f"process {process.pid} belongs to another user; run the checkpoint worker as the same one.",
        pid=process.pid,
    )

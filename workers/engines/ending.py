"""The end of a process tree: every process killed, and every pid given back."""

import signal
import time
from collections.abc import Callable
from threading import Event
from typing import Final

from shared.errors import EngineUnavailable
from workers.engines import processes, tree
from workers.engines.processes import Process

VANISH_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.001, 0.05


def end_tree(root: Process, *, seconds: float) -> None:
    """Kill a process and all of its descendants, and return once they hold no pid that a restore would need.

    One that is gone, or not marked as a workload, is left alone.

    Raises:
        EngineUnavailable: One did not end in time, or its parent does not ask how it ended.
        EngineUnsupported: One belongs to another user.
    """
    killed: dict[Process, None] = {}
    if processes.is_alive(root):
        if not processes.is_marked(root):
            return
        # Stopped first: what forks while it is killed leaves children that nobody finds.
        tree.stop_family(root, killed, stop=Event(), seconds=seconds)
        # Children first: the end of a parent makes the kernel continue stopped children that have no other tie to
        # their session; and as long as the first process lives, whoever comes after us finds the others by it.
        for process in reversed(killed):
            processes.signal_process(process, signal.SIGKILL)
        _wait_until_none(killed, processes.is_alive, _not_ended)
    if len(processes.pids_in_namespaces(root)) <= 1:
        # In a pid namespace of its own a restored process meets no pid of another: there a zombie may stay.
        _wait_until_none({root: None, **killed}, processes.exists, _not_reaped)


def _wait_until_none(
    found: dict[Process, None], still: Callable[[Process], bool], error: Callable[[Process], EngineUnavailable]
) -> None:
    limit, pause = time.monotonic() + VANISH_SECONDS, FIRST_PAUSE_SECONDS
    while left := [process for process in found if still(process)]:
        if time.monotonic() >= limit:
            raise error(left[0])
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


def _not_ended(process: Process) -> EngineUnavailable:
    return EngineUnavailable(
        f"process {process.pid} did not end within {VANISH_SECONDS:g} s of its kill: it is in an uninterruptible call.",
        pid=process.pid,
    )


def _not_reaped(process: Process) -> EngineUnavailable:
    stat = processes.read_stat(processes.PROC / str(process.pid))
    parent = stat.parent if stat else 0
    return EngineUnavailable(
        f"process {process.pid} has ended, but holds its pid until its parent {parent} asks how it ended: have the "
        "parent wait for it, or start runs in a pid namespace of their own (unshare --pid --fork setsid).",
        pid=process.pid,
        parent=parent,
    )

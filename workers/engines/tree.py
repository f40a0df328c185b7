"""A workload that is a process tree: told from every other, stopped as a whole, continued, and looked at.

What the engines `simulate`, `process` and `cri` have in common: frozen is SIGSTOP, thawed and permitted is SIGCONT.
"""

import os
import signal
import time
from threading import Event

import structlog

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.vocabulary import EngineName
from workers.engines import processes
from workers.engines.processes import Process

log = structlog.get_logger(__name__)

FREEZE_SECONDS_MAX = 30.0
PROCESSES_MAX = 10_000
# A stop takes effect within microseconds; only a process in an uninterruptible call takes longer.
FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.0005, 0.05
# A signal that criu leaves pending takes effect as soon as the kernel lets the process go.
STANDING_SECONDS, STANDING_PAUSE_SECONDS = 5.0, 0.001


def find(workload: Workload) -> Process | None:
    """Return the workload's first process; None when there is none, or none that may be touched."""
    if workload.pid is None or workload.started_at_ticks is None:
        return None
    process = Process(workload.pid, workload.started_at_ticks)
    return process if processes.is_alive(process) and processes.is_marked(process) else None


def expect(workload: Workload) -> Process:
    """Return the workload's first process.

    Raises:
        RunGone: It has ended, is not marked, or its pid is used again.
    """
    process = find(workload)
    if process is None:
        raise _gone(workload)
    return process


def expect_standing(workload: Workload) -> list[Process]:
    """Return the workload's processes, all of which stand.

    Raises:
        RunGone: It has ended, is not marked, or its pid is used again.
        EngineUnavailable: One of them runs.
    """
    return standing_family(expect(workload))


def standing_family(root: Process) -> list[Process]:
    """Return the process and its descendants, all of which stand.

    Raises:
        RunGone: It has ended.
        EngineUnavailable: One of them runs.
    """
    family = processes.family(root)
    if not family:
        raise _ended(root)
    if not all(map(processes.is_stopped, family)):
        raise EngineUnavailable(
            f"process {root.pid} or one of its descendants runs; expected all of them frozen by us. "
            "Somebody else continued it: an image of it would be torn.",
            pid=root.pid,
        )
    return family


def wait_standing(root: Process) -> None:
    """Return once a process and its descendants stand, of which the kernel was told.

    Raises:
        EngineUnavailable: They do not within 5 s, since somebody continued them; or the process has ended.
    """
    limit = time.monotonic() + STANDING_SECONDS
    while True:
        try:
            standing_family(root)
        except RunGone as error:
            # Not that of the run: a dump or a restore failed, and what it was made of may still be there.
            raise EngineUnavailable(error.message, **error.facts) from error
        except EngineUnavailable:
            if time.monotonic() >= limit:
                raise
            time.sleep(STANDING_PAUSE_SECONDS)
        else:
            return


def freeze(workload: Workload, *, stop: Event, seconds: float) -> None:
    """Stop the process, then its descendants, until a look at all of them finds no new one.

    Raises:
        RunGone: It has ended, is not marked, or its pid is used again; nothing is left stopped.
        EngineRevoked: `stop` was set meanwhile.
        EngineUnsupported: A process belongs to another user, or the worker itself to the workload.
        EngineUnavailable: A process did not stop in time, or there are too many.
    """
    freeze_tree(expect(workload), stop=stop, seconds=seconds)


def freeze_tree(root: Process, *, stop: Event, seconds: float) -> None:
    """Stop a process that may be touched, and its descendants; see `freeze`."""
    if root.pid in processes.ancestors(os.getpid()):
        raise EngineUnsupported(
            f"process {root.pid} holds this checkpoint worker, which would stop itself with it. "
            "Start the worker outside of the workload.",
            pid=root.pid,
        )
    if stop.is_set():
        raise EngineRevoked(f"process {root.pid} was not frozen: the checkpoint was revoked", pid=root.pid)
    stopped: dict[Process, None] = {}
    try:
        stop_family(root, stopped, stop=stop, seconds=seconds)
    finally:
        if not processes.is_alive(root):
            # What it forked has another parent by now, and no later thaw would find it.
            _continue(list(stopped))
    if not processes.is_alive(root):
        raise _ended(root)


def stop_family(root: Process, stopped: dict[Process, None], *, stop: Event, seconds: float) -> None:
    """Stop a process and all of its descendants; each is in `stopped` before it is signalled.

    Raises:
        EngineRevoked: `stop` was set meanwhile.
        EngineUnavailable: A process did not stop in time, or there are too many.
    """
    limit = time.monotonic() + min(seconds, FREEZE_SECONDS_MAX)
    while fresh := [it for it in processes.family(root) if it not in stopped]:
        # Parents first: what is stopped forks no more, so each look leaves less to be found.
        for process in fresh:
            stopped[process] = None
            processes.signal_process(process, signal.SIGSTOP)
            _wait_stopped(process, stop=stop, limit=limit)
        if len(stopped) > PROCESSES_MAX:
            raise EngineUnavailable(
                f"the workload has more than {PROCESSES_MAX} processes; fewer are expected.", pid=root.pid
            )


def thaw(workload: Workload) -> None:
    """Continue the process and its descendants; one that is gone or not marked is ignored."""
    root = find(workload)
    if root is not None:
        thaw_tree(root)


def thaw_tree(root: Process) -> None:
    """Continue a process that may be touched, and its descendants."""
    _continue(processes.family(root))


def standing(engine: EngineName, *, node: str) -> list[Workload]:
    """Return the marked processes that stand now; a descendant of a workload is listed like one."""
    return [
        Workload(engine, node, pid=process.pid, started_at_ticks=process.started_at_ticks)
        for process in processes.stopped_and_marked()
    ]


def is_standing(workload: Workload) -> bool:
    """Whether any thread of the process is stopped.

    The process alone tells: it is stopped before its descendants and continued after them.
    """
    root = find(workload)
    return root is not None and is_tree_standing(root)


def is_tree_standing(root: Process) -> bool:
    """Whether any thread of the process is stopped; see `is_standing`."""
    return processes.STOPPED in processes.thread_states(root)


def _ended(root: Process) -> RunGone:
    return RunGone(f"process {root.pid} has ended.", pid=root.pid)


def _gone(workload: Workload) -> RunGone:
    """Say what is wrong with a workload that must not be touched."""
    if workload.pid is None or workload.started_at_ticks is None:
        return RunGone(f"the workload names a container; the engine {workload.engine} freezes processes, by pid.")
    pid = workload.pid
    facts: dict[str, object] = {"pid": pid, "started_at_ticks": workload.started_at_ticks}
    stat = processes.read_stat(processes.PROC / str(pid))
    if stat is None or stat.state in processes.ENDED:
        return RunGone(f"process {pid} has ended.", **facts)
    if stat.started_at_ticks != workload.started_at_ticks:
        return RunGone(
            f"process {pid} started at tick {stat.started_at_ticks}, expected "
            f"{workload.started_at_ticks}: its pid is used again by another process.",
            **facts,
        )
    return RunGone(
        f"process {pid} is not marked as a workload; start it with CHECKPOINT_WORKLOAD=1 in its environment.",
        **facts,
    )


def _wait_stopped(process: Process, *, stop: Event, limit: float) -> None:
    """Wait until no thread of the process runs, or the process has ended."""
    pause = FIRST_PAUSE_SECONDS
    while not processes.is_stopped(process) and processes.is_alive(process):
        if time.monotonic() >= limit:
            raise EngineUnavailable(
                f"process {process.pid} did not stop in time: it is traced, or in an uninterruptible call.",
                pid=process.pid,
            )
        if stop.wait(pause):
            raise EngineRevoked(
                f"the freeze of process {process.pid} was ended: the checkpoint was revoked", pid=process.pid
            )
        pause = min(2 * pause, PAUSE_SECONDS_MAX)


def _continue(family: list[Process]) -> None:
    """Continue children before parents, so that the first process stands until all the others run."""
    for process in reversed(family):
        try:
            processes.signal_process(process, signal.SIGCONT)
        except EngineUnsupported as error:
            # Not ours, so never stopped by us; the rest must not stay stopped for it.
            log.warning("process.foreign", **error.facts)

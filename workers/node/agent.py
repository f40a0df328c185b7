"""The node's agent: says that the node lives, and makes the node what Postgres says. A net that nothing relies on.

On each node one worker holds it. Level-triggered: every turn it lists what stands still here and settles each, under
the run's lock. Source: the design, rule 9.
"""

import os
from contextlib import ExitStack
from datetime import timedelta
from threading import Event, Thread
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from shared.db import checkpoints, nodes
from shared.db.moment import is_of_the_moment
from shared.errors import EngineError
from shared.messages import Workload
from shared.pulse import Pulse, of_this_loop
from shared.seam import effect
from workers.engines.available import engine_for, offered_engines
from workers.node.cleaner import Cleaner
from workers.node.lock import agent_lock
from workers.node.node import Node
from workers.node.settle import settle

EXIT_BROKEN: Final = 70
LEFT_AT_ONCE: Final = 20
ELECTION_PERIOD: Final = timedelta(seconds=1)  # how soon another worker takes over from a dead one

log = structlog.get_logger(__name__)


class Agent:
    """The thread that is the agent as long as it holds the node's agent lock.

    Args:
        node: Its node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        settings = node.connections.settings
        # Beside its own period, since it sleeps so long between two turns.
        limit_ms = settings.health_limit_ms + settings.agent_period_ms
        self.pulse = Pulse("the node's agent", limit_seconds=limit_ms / 1000)
        self._cleaner = Cleaner(settings)
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="agent", daemon=True)

    def start(self) -> None:
        """Begin: as the node's agent, or as the next one."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the turn and end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        of_this_loop.set(self.pulse)
        period = timedelta(milliseconds=self._node.connections.settings.agent_period_ms)
        try:
            log.info("node.engines", node=self._node.name, engines=[str(name) for name in self._node.engines])
            with ExitStack() as stack:
                while stack.enter_context(agent_lock(self._node.connections.settings.lock_folder)) is None:
                    self.pulse.turned()  # another worker is the agent
                    if self._stopping.wait(ELECTION_PERIOD.total_seconds()):
                        return
                while not self._stopping.is_set():
                    self._turn()
                    self._stopping.wait(period.total_seconds())
        except BaseException:
            # A node whose agent is gone would look silent: its worker ends, and is started again.
            log.critical("agent.broken", exc_info=True)
            os._exit(EXIT_BROKEN)

    def _turn(self) -> None:
        try:
            be_seen(self._node)
            settle_what_stands(self._node)
            clear_what_is_left(self._node)
            self._cleaner.clean_if_due()
            waited = self.pulse.turned()
            if waited is not None:
                log.info("agent.back", seconds=round(waited, 1))
        except Exception as error:
            if not is_of_the_moment(error):
                raise
            waited = self.pulse.waits(error)
            if waited is not None:
                log.warning("agent.waiting", error=str(error).strip(), seconds=round(waited, 1))


def be_seen(node: Node) -> None:
    """Write down that this node lives; if it was away, its waits are looked at now."""
    settings = node.connections.settings
    engines = [str(name) for name in node.engines]
    silent = timedelta(milliseconds=settings.node_silent_ms)
    with node.connections.pool.connection() as conn, conn.transaction():
        if nodes.seen(conn, node.name, engines=engines, silent=silent):
            woken = nodes.wake(conn, node.name)
            log.info("node.appeared", node=node.name, engines=engines, woken=woken)


def settle_what_stands(node: Node) -> int:
    """Settle every workload that stands still here and was ever ours; return how many were looked at."""
    standing = [workload.to_json() for workload in _standing(node)]
    if not standing:
        return 0
    with node.connections.pool.connection() as conn:
        ours = checkpoints.of_workloads(conn, standing)
    for run_id, workload in ours:
        # Busy: whoever has it knows better. Settling reads Postgres again, under the lock.
        with bound_contextvars(run_id=run_id), node.lock(run_id) as lock:
            if lock is None:
                continue
            try:
                outcome = settle(node, run_id=run_id, workload=workload)
            except EngineError as error:
                log.warning("agent.unsettled", error=error.message)
                continue
            effect("agent.settled")
            log.debug("agent.settled", outcome=outcome)
    return len(ours)


def _standing(node: Node) -> list[Workload]:
    """Return what stands still here, of every engine that answers."""
    settings = node.connections.settings
    standing: list[Workload] = []
    for name in offered_engines(settings):
        try:
            standing += engine_for(name, settings).standing(node=node.name)
        except EngineError as error:
            # A container daemon that restarts holds up no other engine's runs.
            log.warning("agent.engine-away", engine=str(name), error=error.message)
    return standing


def clear_what_is_left(node: Node) -> int:
    """Remove what restores left here of runs that another node brought back, or nobody will; return how many.

    A node that fell silent in a restore holds a process that was never permitted, and that no row names.
    """
    with node.connections.pool.connection() as conn:
        found = checkpoints.left(conn, node=node.name, limit=LEFT_AT_ONCE)
    for one in found:
        with bound_contextvars(run_id=one.run_id), node.lock(one.run_id) as lock:
            if lock is None:
                continue
            is_here = one.restored_workload is not None and one.restored_workload.get("node") == node.name
            keep = Workload.from_json(one.restored_workload) if is_here and one.restored_workload else None
            try:
                engine, _ = node.engine(one.workload)
                engine.clear(f"{one.id}-{one.epoch}", keep=keep)
            except EngineError as error:
                log.warning("agent.unsettled", error=error.message)
                continue
            effect("agent.cleared")
            with node.connections.pool.connection() as conn:
                checkpoints.nothing_left(conn, one.id, node=node.name)
    return len(found)

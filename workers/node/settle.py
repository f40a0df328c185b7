"""Settling a standing process: by what Postgres says of the newest wait of its workload, read under the lock.

The one function for a refused offer, a lost answer, a take-over, a failure and the agent. Its caller holds the
run's node lock. Source: the design, rule 6.
"""

from enum import StrEnum
from typing import Any

from shared.db import checkpoints
from shared.db.checkpoints import NewestWait
from shared.patience import patiently
from shared.seam import effect
from workers.node.node import Node


class Settled(StrEnum):
    """What became of a process."""

    THAWED = "thawed"
    KILLED = "killed"
    LEFT_STANDING = "left-standing"


def settle(node: Node, *, run_id: str, workload: dict[str, Any]) -> Settled:
    """Kill a process whose newest wait has an accepted checkpoint, thaw any other.

    An engine that leaves processes standing keeps it so until the newest wait is cancelled or restored.

    Raises:
        EngineUnavailable: The engine could not do it now; whatever row has the duty keeps it.
        EngineUnsupported: This node has no such engine.
    """

    def read() -> NewestWait | None:
        with node.connections.pool.connection() as conn:
            return checkpoints.newest_wait(conn, run_id=run_id, workload=workload)

    newest = patiently(read, what="settle")
    engine, known = node.engine(workload)
    if newest is None or not newest.is_frozen:
        engine.thaw(known)
        outcome = Settled.THAWED
    elif not engine.leaves_standing(newest.location or ""):
        engine.kill(known)
        outcome = Settled.KILLED
    elif newest.is_let_go:
        engine.thaw(known)
        outcome = Settled.THAWED
    else:
        outcome = Settled.LEFT_STANDING
    effect(f"settle.{outcome}")
    return outcome

"""The duties that a row may still have when nothing is to be taken: settle and close, free, discard.

A worker may have died in the middle of each; whoever holds the node lock does what is left. Source: the design,
section 3 (moves) and rule 6.
"""

from datetime import timedelta
from typing import Final

from shared.db import checkpoints, dependencies
from shared.db.checkpoints import Closed, State
from shared.patience import patiently
from shared.seam import effect
from shared.vocabulary import CheckpointStatus
from workers.node.node import Node
from workers.node.settle import settle

CLOSED_AS: Final[dict[str, Closed]] = {"refused": "refused", "revoked": "revoked", "failed": "failed"}
_MAY_STAND: Final = frozenset(
    {
        CheckpointStatus.ACCEPTED,
        CheckpointStatus.RESTORING,
        CheckpointStatus.RESTORED,
        CheckpointStatus.DISCARDED,
    }
)


def is_early(state: State) -> bool:
    """Return whether a take came before its row is due, by Postgres' clock: it waits for the rest."""
    may_be_taken = state.status in {None, CheckpointStatus.DEFERRED, CheckpointStatus.TAKING}
    return may_be_taken and not state.is_over and (state.rest or timedelta(0)) > timedelta(0)


def do_what_is_left(node: Node, state: State) -> bool:
    """Do the duties of a row, in their order; False: it has none."""
    if state.id is None or state.epoch is None:
        return False
    if state.status in {CheckpointStatus.TAKING, CheckpointStatus.DEFERRED}:
        return state.is_over and _settle_and_close(node, state, checkpoint_id=state.id, epoch=state.epoch)
    did = False
    if state.status in _MAY_STAND and not state.is_freed:
        settle(node, run_id=state.run_id, workload=state.workload)
        mark_freed(node, state.id)
        did = True
    if state.status == CheckpointStatus.DISCARDED and not state.is_discarded:
        _discard(node, state, checkpoint_id=state.id)
        did = True
    return did


def _settle_and_close(node: Node, state: State, *, checkpoint_id: int, epoch: int) -> bool:
    """The wait ended while nobody worked on the row: a process may stand if its worker died."""
    if state.status == CheckpointStatus.TAKING:
        settle(node, run_id=state.run_id, workload=state.workload)

    def close() -> bool:
        with node.connections.pool.connection() as conn, conn.transaction():
            is_closed = checkpoints.close(conn, checkpoint_id, epoch=epoch, status="revoked")
            if is_closed:
                dependencies.end_manual(conn, state.dependency_id)
        return is_closed

    is_closed = patiently(close, what="close")
    effect("duty.closed")
    return is_closed


def mark_freed(node: Node, checkpoint_id: int) -> None:
    """Write down that the frozen process is gone, so its slot is free; a second time changes nothing."""

    def write() -> bool:
        with node.connections.pool.connection() as conn:
            return checkpoints.freed(conn, checkpoint_id)

    patiently(write, what="freed")
    effect("duty.freed")


def _discard(node: Node, state: State, *, checkpoint_id: int) -> None:
    """The run is over: let go what still stands, remove what was stored."""
    settle(node, run_id=state.run_id, workload=state.workload)
    engine, _ = node.engine(state.workload)
    if state.location is not None:
        engine.discard(state.location)
    effect("duty.image-removed")

    def write() -> bool:
        with node.connections.pool.connection() as conn:
            return checkpoints.discard(conn, checkpoint_id)

    patiently(write, what="discard")
    effect("duty.discarded")

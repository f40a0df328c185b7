"""The duties that a row may still have when nothing is to be taken: settle and close, free, discard.

A worker may have died in the middle of each; whoever holds the node lock does what is left. Source: the design,
section 3 (moves) and rule 6.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from shared.db import checkpoints, dependencies
from shared.db.checkpoints import Closed, State
from shared.messages import Workload
from shared.patience import patiently
from shared.seam import effect
from shared.vocabulary import CheckpointStatus
from workers.node.node import Node
from workers.node.settle import settle

CLOSED_AS: Final[dict[str, Closed]] = {"refused": "refused", "revoked": "revoked", "failed": "failed"}
_ENDED: Final = frozenset({CheckpointStatus.RESTORED, CheckpointStatus.DISCARDED})
_MAY_STAND: Final = _ENDED | {CheckpointStatus.ACCEPTED, CheckpointStatus.RESTORING}


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
    if state.status in _MAY_STAND and not state.is_freed and _is_here(node, state.workload):
        settle(node, run_id=state.run_id, workload=state.workload)
        mark_freed(node, state.id)
        did = True
    left = state.restored_workload or state.workload
    if state.status in _ENDED and not state.is_discarded and _is_here(node, left):
        # A worker died: before it let go what it had restored, or before the run was let go that is over now.
        settle(node, run_id=state.run_id, workload=left)
        clear(node, state.workload, checkpoint_id=state.id, epoch=state.epoch, keep=state.restored_workload)
        mark_discarded(node, state.id, phases={})
        did = True
    return did


def _is_here(node: Node, workload: dict[str, Any]) -> bool:
    """Whether a workload is this node's: a run that was restored elsewhere leaves duties on two nodes."""
    return workload.get("node") == node.name


def _settle_and_close(node: Node, state: State, *, checkpoint_id: int, epoch: int) -> bool:
    """The wait ended while nobody worked on the row: a process may stand if its worker died."""
    if state.status == CheckpointStatus.TAKING:
        settle(node, run_id=state.run_id, workload=state.workload)
    if epoch > 0:  # else the run was asked only: nothing was claimed, frozen or stored
        clear(node, state.workload, checkpoint_id=checkpoint_id, epoch=epoch, keep=None)

    def close() -> bool:
        with node.connections.pool.connection() as conn, conn.transaction():
            is_closed = checkpoints.close(conn, checkpoint_id, epoch=epoch, status="revoked")
            if is_closed:
                dependencies.end_manual(conn, state.dependency_id)
        return is_closed

    is_closed = patiently(close, what="close")
    effect("duty.closed")
    return is_closed


def clear(node: Node, workload: dict[str, Any], *, checkpoint_id: int, epoch: int, keep: dict[str, Any] | None) -> None:
    """Have the engine remove whatever the claims of a checkpoint left, while its row still has the duty.

    Raises:
        EngineUnavailable: The store does not answer; the row keeps the duty.
    """
    engine, _ = node.engine(workload)
    engine.clear(f"{checkpoint_id}-{epoch}", keep=Workload.from_json(keep) if keep else None)
    effect("duty.cleared")


def mark_freed(node: Node, checkpoint_id: int) -> None:
    """Write down that the frozen process is gone, so its slot is free; a second time changes nothing."""

    def write() -> bool:
        with node.connections.pool.connection() as conn:
            return checkpoints.freed(conn, checkpoint_id)

    patiently(write, what="freed")
    effect("duty.freed")


def mark_nothing_left(node: Node, checkpoint_id: int) -> None:
    """Write down that nothing of a checkpoint is left on this node."""

    def write() -> None:
        with node.connections.pool.connection() as conn:
            checkpoints.nothing_left(conn, checkpoint_id, node=node.name)

    patiently(write, what="nothing_left")


def mark_discarded(node: Node, checkpoint_id: int, *, phases: Mapping[str, int]) -> None:
    """Write down that nothing of what a checkpoint stored is left."""

    def write() -> bool:
        with node.connections.pool.connection() as conn:
            return checkpoints.discard(conn, checkpoint_id, phases=phases)

    patiently(write, what="discard")
    effect("duty.discarded")

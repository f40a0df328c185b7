"""Bringing a frozen run back: claim, restore into a held process, permit, let it run, continue.

Reads like the design's paragraph "The wait of a frozen run ends".
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from threading import Event

import msgspec
import structlog
from structlog.contextvars import bound_contextvars

from shared.continuations import add_what_it_calls_for
from shared.db import dependencies, restores
from shared.db.restores import RestoreClaim
from shared.errors import EngineError, EngineUnsupported, RunGone
from shared.messages import Restore, Workload
from shared.patience import patiently
from shared.queues import TaskName, checkpoints_queue
from shared.seam import effect
from shared.task_ids import restore_id
from shared.unreachable import add_refused
from workers.checkpoint import duties
from workers.checkpoint.stored import timed
from workers.engines.engine import Engine, Image
from workers.engines.on_purpose import Step, hold_up_or_fail
from workers.node.lock import NodeLock
from workers.node.node import Node

log = structlog.get_logger(__name__)

# The lock is held for seconds, by a take that frees the run or by the node's agent.
BUSY_DELAY = timedelta(seconds=1)


class Restored(StrEnum):
    """How a restore ended."""

    BUSY = "busy"
    NOTHING_TO_DO = "nothing-to-do"
    RESTORED = "restored"
    NOT_PERMITTED = "not-permitted"
    GIVEN_BACK = "given-back"
    LOST = "lost"


def restore(node: Node, message: Restore) -> Restored:
    """Bring the run of a resumed wait back on this node; twice requested, it is brought back once."""
    with node.lock(message.run_id) as lock:
        if lock is None:
            _send_again(node, message)
            return Restored.BUSY
        claim = _claim(node, message)
        if claim is None:
            return Restored.NOTHING_TO_DO
        with bound_contextvars(attempt=claim.attempt):
            return _try(node, claim, lock)


def _try(node: Node, claim: RestoreClaim, lock: NodeLock) -> Restored:
    log.info("restore.claimed", checkpoint_id=claim.id, epoch=claim.epoch, restores=claim.restores)
    try:
        return _bring_back(node, claim, lock)
    except RunGone as error:
        return _lose(node, claim, error)
    except EngineUnsupported as error:
        return _tell(node, claim, error)
    except EngineError as error:
        _give_back(node, claim, error)
        return Restored.GIVEN_BACK


def _claim(node: Node, message: Restore) -> RestoreClaim | None:
    lease = timedelta(milliseconds=node.connections.settings.lease_ms)

    def claim() -> RestoreClaim | None:
        with node.connections.pool.connection() as conn:
            return restores.claim_restore(
                conn, message.dependency_id, run_id=message.run_id, node=node.name, lease=lease
            )

    # An answer that was lost leaves a claim of nobody: its lease runs out, then a sweep brings it back.
    claimed = patiently(claim, what="claim_restore")
    effect("restore.claimed")
    return claimed


def _bring_back(node: Node, claim: RestoreClaim, lock: NodeLock) -> Restored:
    engine, old = node.engine(claim.workload)
    if not claim.is_freed and old.node == node.name:
        _end(engine, claim, old)
        duties.mark_freed(node, claim.id)
    image = Image(claim.location, claim.digest, claim.image_bytes)
    name = f"{claim.id}-{claim.epoch}"
    stop = Event()
    with node.stopping.ends(stop):
        hold_up_or_fail(node.connections.settings, Step.RESTORE, stop=stop)
        restored, restore_ms = timed(lambda: engine.restore(image, name=name, workload=old, lock=lock, stop=stop))
    # Whichever node brings a run back is its node from now on.
    held = msgspec.structs.replace(restored, node=node.name)
    effect("restore.held")
    if not _permit(node, claim, held, phases={"restore_ms": restore_ms}):
        # The run is over, or another restored it: this process is ours alone, and nobody will ask for it.
        _end(engine, claim, held)
        log.info("restore.not-permitted", checkpoint_id=claim.id, epoch=claim.epoch)
        return Restored.NOT_PERMITTED
    _, permit_ms = timed(lambda: engine.permit(held))
    effect("restore.let-run")
    _continue(node, claim)
    _clear(node, claim, held, phases={"permit_ms": permit_ms})
    log.info("checkpoint.restored", checkpoint_id=claim.id, epoch=claim.epoch)
    return Restored.RESTORED


def _end(engine: Engine, claim: RestoreClaim, workload: Workload) -> None:
    """End a process that nobody needs, unless it is all that there is of the run."""
    if not engine.leaves_standing(claim.location):
        engine.kill(workload)


def _permit(node: Node, claim: RestoreClaim, held: Workload, *, phases: Mapping[str, int]) -> bool:
    grace = timedelta(milliseconds=node.connections.settings.take_grace_ms)

    def permit() -> bool:
        with node.connections.pool.connection() as conn:
            # Zero rows may be an earlier try of this very statement whose answer was lost: read it.
            permitted = restores.permit(conn, claim, workload=held.to_json(), phases=phases, grace=grace)
            return permitted or restores.is_permitted(conn, claim)

    permitted = patiently(permit, what="permit")
    effect("restore.permitted")
    return permitted


def _continue(node: Node, claim: RestoreClaim) -> None:
    """Send the continuation; if it is lost, or this worker dies before, a sweep sends it."""
    rows = _still_waiting(node, claim)
    with node.connections.hints() as post:
        for row in rows:
            add_what_it_calls_for(post, row)
    effect("restore.continued")


def _still_waiting(node: Node, claim: RestoreClaim) -> list[dependencies.Resumed]:
    """Return the wait, unless its run is over."""

    def read() -> list[dependencies.Resumed]:
        with node.connections.pool.connection() as conn:
            return dependencies.to_continue(conn, [claim.dependency_id])

    return patiently(read, what="continue")


def _clear(node: Node, claim: RestoreClaim, held: Workload, *, phases: Mapping[str, int]) -> None:
    """Remove the image: it holds all that the run had in memory, and nobody will restore it any more."""
    try:
        duties.clear(node, claim.workload, checkpoint_id=claim.id, epoch=claim.epoch, keep=held.to_json())
    except EngineError as error:
        # The row keeps the duty; a sweep's take does it.
        log.warning("image.left-behind", checkpoint_id=claim.id, epoch=claim.epoch, error=error.message)
        return
    duties.mark_discarded(node, claim.id, phases=phases)
    if claim.is_portable:
        duties.mark_nothing_left(node, claim.id)


def _lose(node: Node, claim: RestoreClaim, error: RunGone) -> Restored:
    """Nothing was found to restore: final once the workload's own node says so, of an image for long enough."""
    engine, old = node.engine(claim.workload)
    # What stands here is here, or is not; an image may only be out of sight.
    patience = timedelta(
        milliseconds=0 if engine.leaves_standing(claim.location) else node.connections.settings.image_gone_ms
    )

    def lose() -> bool:
        with node.connections.pool.connection() as conn:
            is_lost = restores.lose(conn, claim, node=node.name, error=error.message, patience=patience)
            return is_lost or restores.is_lost(conn, claim)

    if not patiently(lose, what="lose"):
        _give_back(node, claim, error, is_gone=old.node == node.name)
        return Restored.GIVEN_BACK
    effect("restore.lost")
    log.error("checkpoint.lost", checkpoint_id=claim.id, restores=claim.restores, error=error.message)
    _continue(node, claim)
    try:
        engine.clear(f"{claim.id}-{claim.epoch}", keep=None)
    except EngineError as left:
        log.warning("image.left-behind", checkpoint_id=claim.id, epoch=claim.epoch, error=left.message)
    return Restored.LOST


def _tell(node: Node, claim: RestoreClaim, error: EngineUnsupported) -> Restored:
    """No other try mends it, but somebody may (a key, a limit, a criu): the run stays, and its upstream hears of it."""
    if not _give_back(node, claim, error):
        return Restored.NOTHING_TO_DO  # the run is over, or another claim knows better
    rows = _still_waiting(node, claim)
    with node.connections.hints() as post:
        for row in rows:
            add_refused(post, row, error=error.message)
    effect("restore.told")
    return Restored.GIVEN_BACK


def _give_back(node: Node, claim: RestoreClaim, error: EngineError, *, is_gone: bool = False) -> bool:
    """The restore failed: never dropped, a sweep asks again with growing gaps.

    Returns:
        Whether the claim was still ours.
    """

    def give_back() -> bool:
        with node.connections.pool.connection() as conn:
            return restores.give_back(conn, claim, error=error.message, is_gone=is_gone)

    is_back = patiently(give_back, what="give_back")
    effect("restore.given-back")
    log.warning("restore.failed", checkpoint_id=claim.id, restores=claim.restores, error=error.message, is_back=is_back)
    return is_back


def _send_again(node: Node, message: Restore) -> None:
    with node.connections.hints() as post:
        post.add(
            checkpoints_queue(node.name),
            TaskName.RESTORE,
            message,
            task_id=restore_id(message.run_id, message.wait_number, 0),
            countdown=BUSY_DELAY,
        )

"""Taking a checkpoint whose delay is over: lock, claim, freeze, store, offer; and whatever duty a row still has.

Reads from top to bottom like the design's paragraph "The delay ends first".
"""

from datetime import datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from threading import Event

import structlog
from psycopg import Rollback
from structlog.contextvars import bound_contextvars

from shared.backoff import retry_delay
from shared.db import checkpoints, dependencies
from shared.db.checkpoints import Claim, State
from shared.errors import EngineError, EngineRevoked, EngineUnavailable
from shared.messages import Take
from shared.patience import patiently
from shared.queues import TaskName, checkpoints_queue
from shared.seam import effect
from shared.task_ids import take_id
from shared.tokens import is_revoked, watch
from workers.checkpoint import duties, handshake
from workers.checkpoint.stored import Stored, freeze_and_store
from workers.node.lock import NodeLock
from workers.node.node import Node
from workers.node.settle import settle

log = structlog.get_logger(__name__)


class Taken(StrEnum):
    """How a take ended."""

    REVOKED_IN_DELAY = "revoked-in-delay"
    BUSY = "busy"
    EARLY = "early"
    ASKED = "asked"
    UNANSWERED = "unanswered"
    NOTHING_TO_DO = "nothing-to-do"
    DUTY_DONE = "duty-done"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    REVOKED = "revoked"
    RETRIED = "retried"
    FAILED = "failed"


def take(node: Node, message: Take) -> Taken:
    """Take the checkpoint of a wait, unless it was revoked; any message may come twice, late or early.

    Raises:
        EngineUnavailable: The process could not be settled, or the store not be cleared; a sweep brings the take back.
    """
    at = node.connections
    # Only the countdown's own first message: a take that a sweep sent may have a standing process to settle.
    if message.first and is_revoked(at.redis, at.keys, run_id=message.run_id, wait_number=message.wait_number):
        return Taken.REVOKED_IN_DELAY
    with node.lock(message.run_id) as lock:
        if lock is None:
            return Taken.BUSY  # its holder finishes, or died and a sweep comes back
        claim, state = _claim(node, message)
        if claim is not None:
            with bound_contextvars(attempt=claim.attempt):
                return _try(node, claim, lock)
        if state is None:
            return Taken.NOTHING_TO_DO
        return _do_duty(node, message, state)


def _claim(node: Node, message: Take) -> tuple[Claim | None, State | None]:
    grace = _grace(node)
    patience = timedelta(milliseconds=node.connections.settings.handshake_ms)

    def claim() -> tuple[Claim | None, State | None]:
        named = {"run_id": message.run_id, "node": node.name}
        with node.connections.pool.connection() as conn, conn.transaction():
            claim = checkpoints.claim(conn, message.dependency_id, **named, grace=grace)
            if claim is not None:
                return claim, None
            # Its run has to be asked, or it is not due, over, or somebody's past; what is left is read beside it.
            checkpoints.ask(conn, message.dependency_id, **named, patience=patience, grace=grace)
            return None, checkpoints.state(conn, message.dependency_id, **named)

    # A claim whose answer was lost is claimed again: nobody else can be working under our lock.
    result = patiently(claim, what="claim")
    effect("take.claimed")
    return result


def _try(node: Node, claim: Claim, lock: NodeLock) -> Taken:
    at = node.connections
    log.info("checkpoint.claimed", checkpoint_id=claim.id, epoch=claim.epoch, tries=claim.tries)
    try:
        with (
            watch(at.redis, at.keys, run_id=claim.run_id, wait_number=claim.wait_number) as revoked,
            node.stopping.ends(revoked),
        ):
            stored = freeze_and_store(node, claim, lock=lock, stop=revoked)
            is_accepted = _offer(node, claim, stored, wake=revoked)
    except EngineRevoked:
        # By a token, or since this worker has to stop; a wait that is over is closed in either case.
        return _give_up(node, claim, Taken.REVOKED, error=None)
    except EngineUnavailable as error:
        return _put_back(node, claim, error)
    except EngineError as error:
        return _give_up(node, claim, Taken.FAILED, error=error.message)
    if not is_accepted:
        return _give_up(node, claim, Taken.REFUSED, error=None)
    settle(node, run_id=claim.run_id, workload=claim.workload)
    duties.mark_freed(node, claim.id)
    log.info("checkpoint.accepted", checkpoint_id=claim.id, **stored.phases)
    return Taken.ACCEPTED


def _offer(node: Node, claim: Claim, stored: Stored, *, wake: Event) -> bool:
    """Offer the image: both rows change, or none. An answer that was lost is read, never guessed."""

    def offer() -> bool:
        with node.connections.pool.connection() as conn:
            if checkpoints.is_accepted(conn, claim.id, location=stored.image.location):
                return True  # by an earlier try whose answer was lost
            with conn.transaction() as transaction:
                is_accepted = checkpoints.offer(
                    conn,
                    claim,
                    location=stored.image.location,
                    digest=stored.image.digest,
                    image_bytes=stored.image.image_bytes,
                    is_portable=stored.image.is_portable,
                    phases=stored.phases,
                    grace=_grace(node),
                )
                if not is_accepted:
                    raise Rollback(transaction)
                dependencies.end_manual(conn, claim.dependency_id)
        return is_accepted

    # A token is raised after a commit, so Postgres is back if one comes while we wait for it.
    accepted = patiently(offer, what="offer", wake=wake)
    effect("take.offered")
    return accepted


def _give_up(node: Node, claim: Claim, outcome: Taken, *, error: str | None) -> Taken:
    """Settle the process, remove what was stored, then close the row: it is closed only when nothing is left."""
    settle(node, run_id=claim.run_id, workload=claim.workload)
    try:
        duties.clear(node, claim.workload, checkpoint_id=claim.id, epoch=claim.epoch, keep=None)
    except EngineUnavailable as cleared:
        if outcome is not Taken.FAILED:
            raise
        # A wait that goes on would be tried again and again for the sake of what is hardly there.
        log.warning("image.left-behind", checkpoint_id=claim.id, epoch=claim.epoch, error=cleared.message)

    def close() -> bool:
        with node.connections.pool.connection() as conn, conn.transaction():
            is_closed = checkpoints.close(
                conn, claim.id, epoch=claim.epoch, status=duties.CLOSED_AS[outcome], error=error
            )
            if is_closed:
                dependencies.end_manual(conn, claim.dependency_id)
        return is_closed

    is_closed = patiently(close, what="close")
    effect("take.closed")
    if not is_closed and outcome is Taken.REVOKED:
        # The token had no word of Postgres behind it, or there was none, and the worker stops: that may end a command,
        # never a checkpoint.
        return _put_back(node, claim, None)
    log.info("checkpoint.closed", outcome=outcome, checkpoint_id=claim.id, error=error)
    return outcome


def _put_back(node: Node, claim: Claim, error: EngineUnavailable | None) -> Taken:
    """Settle the process, then put the row back for another try, and the worker's slot is free meanwhile."""
    settings = node.connections.settings
    base = timedelta(milliseconds=settings.retry_base_ms)
    delay = timedelta(0) if node.stopping.has_ended else base
    if error is not None:
        backoff = retry_delay(
            claim.tries + 1,
            base=base,
            limit=timedelta(milliseconds=settings.retry_max_ms),
            total=timedelta(milliseconds=settings.retry_total_ms),
            random=SystemRandom(),
        )
        if backoff is None:
            return _give_up(node, claim, Taken.FAILED, error=error.message)
        delay = backoff
    settle(node, run_id=claim.run_id, workload=claim.workload)
    is_near = delay <= timedelta(milliseconds=settings.countdown_horizon_ms)

    def put_back() -> bool:
        with node.connections.pool.connection() as conn, conn.transaction():
            # Beyond the horizon there is no message: the sweep that looks when it is due sends it.
            is_back = checkpoints.retry(
                conn,
                claim,
                delay=delay,
                grace=_grace(node) if is_near else timedelta(0),
                error=error.message if error else None,
            )
            if is_back:
                dependencies.end_manual(conn, claim.dependency_id)
        return is_back

    if not patiently(put_back, what="retry"):
        return Taken.NOTHING_TO_DO  # an earlier try of this very statement put it back, its answer was lost
    effect("take.put-back")
    log.info(
        "checkpoint.deferred",
        checkpoint_id=claim.id,
        delay_ms=delay // timedelta(milliseconds=1),
        error=error.message if error else None,
    )
    if is_near:
        _send_again(node, dependency_id=claim.dependency_id, run_id=claim.run_id, number=claim.wait_number, delay=delay)
    return Taken.RETRIED


def _do_duty(node: Node, message: Take, state: State) -> Taken:
    if state.answer_by is not None and state.id is not None and not state.is_over:
        return _handshake(node, state, checkpoint_id=state.id, answer_by=state.answer_by)
    if duties.is_early(state):
        _send_again(
            node,
            dependency_id=state.dependency_id,
            run_id=message.run_id,
            number=state.wait_number,
            delay=state.rest or timedelta(0),
        )
        return Taken.EARLY
    return Taken.DUTY_DONE if duties.do_what_is_left(node, state) else Taken.NOTHING_TO_DO


def _handshake(node: Node, state: State, *, checkpoint_id: int, answer_by: datetime) -> Taken:
    """Give the slot back while the run answers. A take that comes twice asks twice: the run may not have heard."""
    rest = state.rest or timedelta(0)
    if rest > timedelta(0):
        handshake.ask(node, state, answer_by=answer_by, rest=rest)
        return Taken.ASKED
    is_closed = handshake.close_unanswered(node, state, checkpoint_id=checkpoint_id)
    return Taken.UNANSWERED if is_closed else Taken.NOTHING_TO_DO


def _send_again(node: Node, *, dependency_id: str, run_id: str, number: int, delay: timedelta) -> None:
    again = Take(v=1, dependency_id=dependency_id, run_id=run_id, wait_number=number)
    with node.connections.hints() as post:
        post.add(checkpoints_queue(node.name), TaskName.TAKE, again, task_id=take_id(run_id, number), countdown=delay)


def _grace(node: Node) -> timedelta:
    return timedelta(milliseconds=node.connections.settings.take_grace_ms)

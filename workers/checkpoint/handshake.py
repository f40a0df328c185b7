"""The handshake: a run that asked for it is told to flush, and is frozen only once it has said that it is ready.

The row waits meanwhile, not a worker's slot. Source: the design, section 5 (Handshake).
"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from shared.db import checkpoints, dependencies
from shared.db.checkpoints import State
from shared.messages import Prepare, Take
from shared.patience import patiently
from shared.queues import TaskName, checkpoints_queue
from shared.seam import effect
from shared.task_ids import take_id
from workers.node.node import Node

log = structlog.get_logger(__name__)


def ask(node: Node, state: State, *, answer_by: datetime, rest: timedelta) -> None:
    """Tell the run to get ready, and have a take look again when its time to answer is over.

    Both are hints. Without the first there is no checkpoint, and the run lives; without the second a sweep looks.
    """
    prepare = Prepare(
        v=1,
        run_id=state.run_id,
        attempt=state.attempt,
        wait_number=state.wait_number,
        dependency_id=state.dependency_id,
        answer_by=answer_by.astimezone(UTC),
    )
    again = Take(v=1, dependency_id=state.dependency_id, run_id=state.run_id, wait_number=state.wait_number)
    with node.connections.hints() as post:
        post.add(state.reply_to, TaskName.PREPARE, prepare, task_id=str(uuid4()))
        post.add(
            checkpoints_queue(node.name),
            TaskName.TAKE,
            again,
            task_id=take_id(state.run_id, state.wait_number),
            countdown=rest,
        )
    effect("handshake.asked")
    log.info("checkpoint.asked", checkpoint_id=state.id, answer_by=answer_by.isoformat())


def close_unanswered(node: Node, state: State, *, checkpoint_id: int) -> bool:
    """End the checkpoint of a run that was asked and did not answer in time; False: it just did.

    Nothing was frozen or stored, so nothing is settled or cleared.
    """
    patience_ms = node.connections.settings.handshake_ms
    error = (
        f"the run did not say checkpoint.ready within {patience_ms} ms of run.prepare; no checkpoint is taken. "
        "Answer run.prepare in time, or raise CHECKPOINT_HANDSHAKE_MS."
    )

    def close() -> bool:
        with node.connections.pool.connection() as conn, conn.transaction():
            is_closed = checkpoints.close_unanswered(conn, checkpoint_id, error=error)
            if is_closed:
                dependencies.end_manual(conn, state.dependency_id)
        return is_closed

    is_closed = patiently(close, what="close_unanswered")
    effect("handshake.closed")
    if is_closed:
        log.info("checkpoint.unanswered", checkpoint_id=checkpoint_id, error=error)
    return is_closed

"""What a resumed wait calls for: one function for the resume worker, the restore and the sweeper.

No checkpoint: a live continuation. A checkpoint that is not restored: its restore, on a node that is seen, else the
news that none is. Restored: a continuation to the restored process. Lost: the news of that.
Source: the design, section 5.
"""

from uuid import uuid4

import msgspec
from msgspec import UNSET

from shared.db.dependencies import Resumed
from shared.messages import Continue, Outcome, Restore, StoredCheckpoint
from shared.post import Post
from shared.queues import TaskName, checkpoints_queue
from shared.task_ids import restore_id
from shared.unreachable import add_gone, add_silent
from shared.vocabulary import CheckpointStatus, Mode


def add_what_it_calls_for(post: Post, row: Resumed) -> None:
    """Add the message that a resumed wait calls for."""
    if row.checkpoint_id is None:
        _add_continuation(post, row, mode=Mode.LIVE)
    elif row.checkpoint_status == CheckpointStatus.RESTORED:
        _add_continuation(post, row, mode=Mode.RESTORED)
    elif row.checkpoint_status == CheckpointStatus.LOST:
        add_gone(post, row, lost_at=row.lost_at, error=row.error)
    elif row.restore_node is None:
        # No message goes to a queue that nobody reads; a sweep looks again, and its node's agent wakes it.
        add_silent(post, row, seen_at=row.node_seen_at)
    else:
        _add_restore(post, row, node=row.restore_node)


def _add_continuation(post: Post, row: Resumed, *, mode: Mode) -> None:
    is_restored = mode is Mode.RESTORED
    outcomes = _outcomes(row)
    message = Continue(
        v=1,
        continuation_id=row.id,
        run_id=row.run_id,
        attempt=row.attempt,
        wait_number=row.wait_number,
        dependency_id=row.id,
        reason=row.reason,
        mode=mode,
        workload=row.restored_workload if is_restored else row.workload,
        outcomes=outcomes,
        outcomes_left_out=True if outcomes is None else UNSET,
        resumed_at=row.resumed_at,
        checkpoint=_stored(row) if is_restored else None,
        traceparent=row.traceparent,
    )
    post.add(row.reply_to, TaskName.CONTINUE, message, task_id=str(uuid4()), traceparent=row.traceparent)


def _outcomes(row: Resumed) -> dict[str, Outcome] | None:
    """Return how what was waited for ended; None: too large, to be read by `continuation_outcomes`."""
    if row.is_batch:
        return msgspec.convert(row.batch_outcomes, dict[str, Outcome] | None)
    return {} if row.resume_at else {row.id: Outcome(type=row.outcome_type, value=row.outcome)}


def _stored(row: Resumed) -> StoredCheckpoint | None:
    if row.checkpoint_id is None or row.location is None:
        return None
    return StoredCheckpoint(id=row.checkpoint_id, location=row.location, digest=row.digest, bytes=row.image_bytes)


def _add_restore(post: Post, row: Resumed, *, node: str) -> None:
    message = Restore(
        v=1,
        dependency_id=row.id,
        run_id=row.run_id,
        wait_number=row.wait_number,
        traceparent=row.traceparent,
    )
    post.add(
        checkpoints_queue(node),
        TaskName.RESTORE,
        message,
        task_id=restore_id(row.run_id, row.wait_number, (row.epoch or 0) + 1),
        traceparent=row.traceparent,
    )

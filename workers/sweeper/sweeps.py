"""What a sweep does: one function for each thing that may be left or late. Reads Postgres alone."""

from datetime import timedelta
from typing import Any, Final

import structlog
from psycopg import Connection

from shared.broker import run
from shared.connections import Connections
from shared.continuations import add_what_it_calls_for
from shared.db import dependencies, nodes, rejections, retention, sweeps
from shared.db.deferrals import Revocation
from shared.db.nodes import Silence
from shared.db.rejections import Rejection
from shared.db.sweeps import Due
from shared.follow_ups import add_hint
from shared.guard import KEPT_BYTES_MAX, BadMessage, read_set_aside
from shared.messages import Take
from shared.post import Post
from shared.queues import TaskName, checkpoints_queue
from shared.seam import effect
from shared.task_ids import take_id
from shared.tokens import raise_commands
from shared.unreachable import add_silent

ROWS: Final = 500  # 40 ms on a table of a million rows, short enough not to hold up others
REJECTED: Final = 100
ROOM_SECONDS: Final = 60
TELLING: Final = timedelta(seconds=10)  # a page of 500 takes tens of milliseconds

log = structlog.get_logger(__name__)


def require_room(at: Connections) -> None:
    """Write something that nobody reads, to see whether Redis takes messages now.

    Raises:
        RedisError: It is away, read-only or full.
    """
    run(at.redis, ("SET", at.keys.room, 1, "EX", ROOM_SECONDS))


def sweep_waits(at: Connections, conn: Connection[Any]) -> int:
    """Look at the waits whose time has come; return how many there were.

    Rows are moved on to their next look before anything is sent: what is lost on the way comes again then.
    """
    with conn.transaction():
        due = sweeps.dependencies(conn, limit=ROWS)
        resumed = dependencies.to_continue(conn, [row.id for row in due if row.calls_for == "continue"])
    effect("sweep.waits-moved-on")
    with at.hints() as post:
        for row in due:
            if row.calls_for == "take":
                _add_take(post, row)
            elif row.calls_for in {"complete", "seal", "resume"}:
                # Only the resume worker writes resumed_at.
                add_hint(post, row.id)
        for row in resumed:
            add_what_it_calls_for(post, row)
    _log("waits", due)
    return len(due)


def sweep_checkpoints(at: Connections, conn: Connection[Any]) -> int:
    """Look at checkpoints whose worker may be gone, or that have a duty left; return how many there were."""
    with conn.transaction():
        due = sweeps.checkpoints(conn, limit=ROWS)
    effect("sweep.checkpoints-moved-on")
    with at.hints() as post:
        for row in due:
            if row.calls_for == "take":
                _add_take(post, row)
        # Through the SQL door nobody else raises it: the running engine command hears of its cancel by this.
        revoked = [Revocation(row.run_id, row.wait_number, row.revoked_for) for row in due if row.revoked_for]
        for command in raise_commands(at.keys, revoked, ttl=timedelta(milliseconds=at.settings.token_ttl_ms)):
            post.then(*command)
    _log("checkpoints", due)
    return len(due)


def sweep_silences(at: Connections, conn: Connection[Any]) -> int:
    """Tell upstreams of the runs that only a silent node has, once for each silence; return how many were told of.

    A sweeper that dies over it is followed by another, which begins anew: a run may be told of twice.

    Raises:
        RedisError: Redis takes no messages now.
    """
    with conn.transaction():
        silences = nodes.fall_silent(conn, lease=TELLING)
    effect("sweep.silences-claimed")
    return sum(_tell(at, conn, silence) for silence in silences)


def _tell(at: Connections, conn: Connection[Any], silence: Silence) -> int:
    after, count = "", 0
    while page := nodes.out_of_reach(conn, silence.name, after=after, limit=ROWS):
        # Not as a hint: no sweep sends it again. If Redis is away, the next sweeper begins anew.
        post = at.post()
        for wait in page:
            add_silent(post, wait, seen_at=silence.seen_at)
        post.send()
        after, count = page[-1].run_id, count + len(page)
    effect("sweep.silence-told")
    # Seen meanwhile: what was sent was news only, and its next silence is told of anew.
    is_back = not nodes.told(conn, silence)
    seen_at = silence.seen_at.isoformat()
    log.warning("node.silent", node=silence.name, seen_at=seen_at, out_of_reach=count, is_back=is_back)
    return count


def sweep_rejected(at: Connections, conn: Connection[Any]) -> int:
    """Move messages that Celery's workers set aside from Redis into Postgres; return how many."""
    key = at.keys.rejected
    records: Any = at.redis.lrange(key, -REJECTED, -1)
    if not records:
        return 0
    # The oldest first, as rows are numbered: only the newest of them stay.
    records.reverse()
    queue = key.removeprefix(at.keys.prefix)
    rejections.keep(conn, [_rejection(record, queue=queue) for record in records])
    # After the commit, and each by its value: another sweeper may keep a row twice, none is lost.
    run(at.redis, *[("LREM", key, -1, record) for record in records])
    return len(records)


def retire(at: Connections, conn: Connection[Any]) -> int:
    """Delete a batch of what is finished for long; return how many rows, none when nothing is left."""
    keep = timedelta(milliseconds=at.settings.keep_finished_ms)
    keep_early = timedelta(milliseconds=at.settings.keep_unclaimed_completion_ms)
    count = retention.retire_waits(conn, keep=keep, limit=ROWS)
    count += retention.retire_early(conn, keep=keep_early, limit=ROWS)
    count += retention.retire_marks(conn, keep=keep, limit=ROWS)
    count += rejections.prune(conn, keep=at.settings.keep_rejections)
    if count:
        log.info("rows.retired", rows=count)
    return count


def _rejection(record: bytes, *, queue: str) -> Rejection:
    """Return what is to be kept of a record; what is none is kept itself, as a message on a queue of ours."""
    try:
        one = read_set_aside(record)
    except BadMessage as error:
        problem = f"no record of a message that was set aside: {error}. Only workers write to {queue}."
        log.warning("message.set-aside", queue=queue, problem=problem)
        return Rejection(queue=queue, code="invalid-message", problem=problem, raw=record[:KEPT_BYTES_MAX])
    return Rejection(queue=one.queue, code="invalid-message", problem=one.reason, raw=one.message)


def _add_take(post: Post, row: Due) -> None:
    message = Take(
        v=1, dependency_id=row.id, run_id=row.run_id, wait_number=row.wait_number, traceparent=row.traceparent
    )
    post.add(
        checkpoints_queue(row.node),
        TaskName.TAKE,
        message,
        task_id=take_id(row.run_id, row.wait_number),
        countdown=row.countdown or timedelta(0),
        traceparent=row.traceparent,
    )


def _log(what: str, due: list[Due]) -> None:
    if due:
        counts = {step: sum(row.calls_for == step for row in due) for step in {row.calls_for for row in due}}
        log.info("rows.swept", what=what, **counts)

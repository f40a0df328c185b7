"""A sweep reads Postgres alone: each row that is looked at says what it calls for, and is moved on first."""

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bad_defers import good, moment, timed
from letterbox import Letterbox
from psycopg import Connection
from redis import Redis, RedisError
from sql_door import SqlDoor

from shared.broker import run
from shared.connections import Connections
from shared.db import dependencies
from shared.guard import set_aside
from shared.queues import CONTINUATIONS, RESUMES
from shared.task_ids import restore_id, take_id
from workers.sweeper.loop import turn

NODE_QUEUE = "checkpoints.node-1"
SECOND = timedelta(seconds=1)
Sweep = Callable[[timedelta], int]


@pytest.fixture
def sweep(connections: Connections, conn: Connection[Any]) -> Sweep:
    """Take a sweeper's turn, as if so much time had passed."""

    def sweep(ahead: timedelta) -> int:
        conn.execute("SELECT set_config('checkpoint.clock', (now() + %s)::text, false)", [ahead])
        return turn(connections, conn)

    return sweep


def a_wait(door: SqlDoor, wait: dict[str, Any]) -> str:
    """Register a wait at the SQL door, so that a sweeper has to send what follows; return its dependency."""
    door.defer(wait)
    return wait["dependency"]["id"]


def look_at(door: SqlDoor, name: str) -> timedelta | None:
    """Return how far off the next look is."""
    moment = door.row(name)["look_at"]
    return moment and moment - datetime.now(UTC)


def test_a_wait_that_is_due_calls_for_its_take(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """The take goes to the node's queue; it is not the first, so a token does not end it unasked."""
    wait = good(delay_ms=0, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    name = a_wait(door, wait)

    assert sweep(timedelta(0)) == 1

    [mail] = letterbox.on(NODE_QUEUE)
    assert (mail.task, mail.id) == ("checkpoint.take", take_id(wait["run_id"], 1))
    assert (mail.fields["dependency_id"], mail.fields["first"]) == (name, False)
    assert mail.fields["traceparent"] == wait["traceparent"]
    assert sweep(timedelta(0)) == 0


def test_a_take_that_is_near_is_held_until_it_is_due(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Within the horizon its countdown waits in Redis, and Postgres looks again a little after that."""
    name = a_wait(door, good(delay_ms=40_000))

    sweep(timedelta(0))

    assert letterbox.on(NODE_QUEUE) == []
    assert [mail.fields["dependency_id"] for mail in letterbox.held()] == [name]
    assert door.row(name)["look_at"] - door.row(name)["due_at"] == SECOND / 2  # the grace


def test_a_take_beyond_the_horizon_is_only_a_row(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """It is looked at again when it is near."""
    name = a_wait(door, good(delay_ms=3_600_000))

    sweep(timedelta(0))

    assert letterbox.held() == []
    assert door.row(name)["due_at"] - door.row(name)["look_at"] == 60 * SECOND
    sweep(timedelta(minutes=59, seconds=30))
    assert len(letterbox.held()) == 1


def test_no_take_goes_to_a_node_that_is_silent(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Nobody would read it: the row waits for the node."""
    name = a_wait(door, good(delay_ms=0, workload={"engine": "simulate", "node": "n", "pid": 1, "started_at_ticks": 1}))

    assert sweep(timedelta(0)) == 1

    assert letterbox.on("checkpoints.n") == []
    assert look_at(door, name) is not None


def test_a_lost_take_is_sent_again_with_growing_gaps(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """While no checkpoint row exists the take is sent again, each time later, at most the longest gap apart."""
    name = a_wait(door, good(delay_ms=0))
    gaps: list[timedelta] = []
    for ahead in (0, 2, 10, 100):
        assert sweep(ahead * SECOND) == 1
        gaps.append((look_at(door, name) or timedelta(0)) - ahead * SECOND)

    assert len(letterbox.on(NODE_QUEUE)) == 4
    assert gaps[0] < gaps[-1] <= 2.3 * SECOND


def test_a_time_that_is_over_is_completed_and_hinted(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """The sweeper is the clock; the resume worker alone marks the wait resumed."""
    name = a_wait(door, timed(moment(10 * SECOND)))
    sweep(timedelta(0))
    assert letterbox.on(RESUMES) == []

    sweep(11 * SECOND)

    assert [(mail.task, mail.fields["dependency_id"]) for mail in letterbox.on(RESUMES)] == [
        ("dependency.resume", name)
    ]
    row = door.row(name)
    assert (row["outcome_type"], row["resumed_at"]) == ("success", None)


def test_a_wait_that_is_complete_and_not_resumed_is_hinted(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Whoever completed it died, or its hint was lost: it is sent again until the wait is resumed."""
    name = a_wait(door, good())
    door.complete(name)

    sweep(timedelta(0))
    sweep(5 * SECOND)

    assert [mail.fields["dependency_id"] for mail in letterbox.on(RESUMES)] == [name, name]


def test_a_resumed_wait_is_continued_until_it_is_done(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """A continuation that was lost is sent again, the same one, with a count of its sends."""
    name = a_wait(door, good())
    door.resume(name)

    sweep(5 * SECOND)
    sweep(10 * SECOND)
    dependencies.done(door.conn, [name])
    sweep(20 * SECOND)

    sent = letterbox.on(CONTINUATIONS)
    assert [(mail.task, mail.fields["continuation_id"]) for mail in sent] == [("run.continue", name)] * 2
    assert door.row(name)["sends"] == 3
    assert look_at(door, name) is None


def test_a_resumed_wait_that_is_frozen_calls_for_its_restore(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Not for a continuation: its process is not there."""
    wait = good(delay_ms=0)
    name = a_wait(door, wait)
    door.freeze(wait)
    door.resume(name)

    sweep(5 * SECOND)

    restores = [mail for mail in letterbox.on(NODE_QUEUE) if mail.task == "checkpoint.restore"]
    assert [(mail.fields["dependency_id"], mail.id) for mail in restores] == [(name, restore_id(wait["run_id"], 1, 2))]
    assert letterbox.on(CONTINUATIONS) == []


@pytest.mark.parametrize("how", ["cancelled", "called off"])
def test_what_is_over_calls_for_nothing(how: str, sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """It is not looked at again."""
    wait = good(delay_ms=0)
    name = a_wait(door, wait)
    if how == "cancelled":
        door.cancel(wait["run_id"], "RUN_CANCELLED")
    else:
        door.cancel(wait["run_id"], "MANUAL", wait_number=1)

    sweep(timedelta(0))

    assert letterbox.on(NODE_QUEUE) == []
    assert look_at(door, name) is None


def test_a_checkpoint_with_a_duty_left_is_asked_for_again(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Accepted and not freed, then discarded with its image: a take does what is left, until nothing is."""
    wait = good(delay_ms=0)
    name = a_wait(door, wait)
    checkpoint_id = door.freeze(wait)
    door.cancel(wait["run_id"], "RUN_CANCELLED")

    sweep(timedelta(0))
    assert [mail.fields["dependency_id"] for mail in letterbox.on(NODE_QUEUE)] == [name]

    door.conn.execute("UPDATE checkpoint SET freed_at = now(), discarded_at = now() WHERE id = %s", [checkpoint_id])
    sweep(100 * SECOND)
    assert len(letterbox.on(NODE_QUEUE)) == 1
    assert door.checkpoint(checkpoint_id)["look_at"] is None


def test_rows_are_moved_on_before_anything_is_sent(
    sweep: Sweep, door: SqlDoor, letterbox: Letterbox, connections: Connections
) -> None:
    """A Redis that refuses what is sent costs lateness alone: the row comes again by itself."""
    run(letterbox.client, ("SET", connections.keys.queue(NODE_QUEUE), "no list"))
    name = a_wait(door, good(delay_ms=0))

    assert sweep(timedelta(0)) == 1

    assert (look_at(door, name) or timedelta(0)) > timedelta(0)
    run(letterbox.client, ("DEL", connections.keys.queue(NODE_QUEUE)))
    sweep(10 * SECOND)
    assert len(letterbox.on(NODE_QUEUE)) == 1


def test_two_sweepers_do_not_look_at_one_row(
    sweep: Sweep, door: SqlDoor, letterbox: Letterbox, connections: Connections
) -> None:
    """What one has is skipped by the other, which does not wait for it."""
    mine, others = a_wait(door, good(delay_ms=0)), a_wait(door, good(delay_ms=0))
    with connections.pool.connection() as other, other.transaction():
        other.execute("SELECT FROM dependency WHERE id = %s FOR UPDATE", [others])

        assert sweep(timedelta(0)) == 1

    assert [mail.fields["dependency_id"] for mail in letterbox.on(NODE_QUEUE)] == [mine]


def test_what_was_set_aside_in_redis_moves_to_postgres(
    sweep: Sweep, door: SqlDoor, letterbox: Letterbox, connections: Connections
) -> None:
    """A message that Celery could not read is kept with its reason, also one with a NUL in it."""
    for reason in ("no JSON", "a\0b"):
        run(letterbox.client, ("LPUSH", connections.keys.rejected, set_aside(b"raw\0", NODE_QUEUE, reason)))

    assert sweep(timedelta(0)) == 2

    kept = door.conn.execute("SELECT queue, code, problem, raw FROM rejection ORDER BY id DESC").fetchall()
    assert sorted(kept) == [
        (NODE_QUEUE, "invalid-message", "a\ufffdb", b"raw\0"),
        (NODE_QUEUE, "invalid-message", "no JSON", b"raw\0"),
    ]
    assert letterbox.raws(connections.keys.rejected) == []


def test_a_turn_looks_at_more_than_a_batch(sweep: Sweep, door: SqlDoor, letterbox: Letterbox) -> None:
    """Many rows at one moment are all looked at in one turn."""
    door.many("defer", [json.dumps(good(delay_ms=0)) for _ in range(600)])

    assert sweep(timedelta(0)) == 600

    assert len(letterbox.on(NODE_QUEUE)) == 600


def test_nothing_is_moved_on_while_redis_takes_no_messages(
    connections: Connections, conn: Connection[Any], door: SqlDoor, letterbox: Letterbox
) -> None:
    """Each look doubles the gap to the next: one that sends in vain would make a run late long after Redis is back."""
    name = a_wait(door, good(delay_ms=0))
    before = door.row(name)["look_at"]
    nobody = dataclasses.replace(connections, redis=Redis(host="127.0.0.1", port=1))

    with pytest.raises(RedisError):
        turn(nobody, conn)
    assert door.row(name)["look_at"] == before

    assert turn(connections, conn) == 1
    assert len(letterbox.on(NODE_QUEUE)) == 1

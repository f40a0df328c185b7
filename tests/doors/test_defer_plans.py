"""Will there be a checkpoint, when, and why not: delays and their clamps, ends that come too soon, silent nodes."""

from datetime import timedelta
from typing import Any

import pytest
from bad_defers import good, moment, timed
from sql_door import SqlDoor

from shared.db import dependencies, nodes, sweeps

MINUTE = timedelta(minutes=1)
THRESHOLD = timedelta(milliseconds=30_000)
ALSO = timedelta(seconds=10)


def test_a_delay_is_the_calls_else_the_keys_else_the_reasons(door: SqlDoor) -> None:
    """Whoever is nearest to the wait decides, and the answer says who."""
    door.set_setting(key_delays={"slow": 70_000})

    answers = [
        door.defer(good(key="slow", delay_ms=0)),
        door.defer(good(key="slow")),
        door.defer(good(key="unknown")),
        door.defer(good()),
    ]

    assert [(one["delay_ms"], one["delay_from"]) for one in answers] == [
        (0, "call"),
        (70_000, "key"),
        (30_000, "reason"),
        (30_000, "reason"),
    ]


@pytest.mark.parametrize(
    ("reason", "setting"),
    [
        ("WAIT_FOR_TASK", "delay_task_ms"),
        ("WAIT_FOR_DURATION", "delay_duration_ms"),
        ("MANUAL", "delay_manual_ms"),
        ("RETRYING_AFTER_FAILURE", "delay_retry_ms"),
    ],
)
def test_each_reason_has_a_delay_of_its_own(reason: str, setting: str, door: SqlDoor) -> None:
    """The setting of the reason is the delay where nobody names one."""
    door.set_setting(**{setting: 1_234})
    wait = good() if reason == "WAIT_FOR_TASK" else timed(moment(5 * MINUTE), reason)

    answer = door.defer(wait)

    assert (answer["delay_ms"], answer["delay_from"], answer["why"]) == (1_234, "reason", None)


@pytest.mark.parametrize(
    ("asked", "given", "why"),
    [
        (999, 1_000, "delay-raised-to-minimum"),
        (1_000, 1_000, None),
        (5_000, 5_000, None),
        (5_001, 5_000, "delay-cut-to-maximum"),
    ],
)
def test_a_delay_outside_the_bounds_is_clamped_and_said(asked: int, given: int, why: str | None, door: SqlDoor) -> None:
    """Nobody gets a delay outside of the settings' bounds, and the answer names the clamp."""
    door.set_setting(delay_min_ms=1_000, delay_max_ms=5_000)
    wait = good(delay_ms=asked)

    answer = door.defer(wait)

    row = door.row(wait["dependency"]["id"])
    assert (answer["delay_ms"], answer["why"], answer["will_checkpoint"]) == (given, why, True)
    assert row["due_at"] - row["registered_at"] == timedelta(milliseconds=given)


@pytest.mark.parametrize(
    ("reason", "ahead", "delay_ms", "why"),
    [
        ("WAIT_FOR_DURATION", THRESHOLD - ALSO, 0, "ends-too-soon"),
        ("WAIT_FOR_DURATION", THRESHOLD + ALSO, 0, None),
        ("WAIT_FOR_DURATION", THRESHOLD + ALSO, 120_000, "ends-too-soon"),
        ("WAIT_FOR_DURATION", -MINUTE, 0, "ends-too-soon"),
        ("MANUAL", THRESHOLD - ALSO, 0, "ends-too-soon"),
        ("RETRYING_AFTER_FAILURE", THRESHOLD + ALSO, 0, "ends-too-soon"),
        ("RETRYING_AFTER_FAILURE", 3 * MINUTE, 0, None),
    ],
)
def test_a_wait_that_ends_too_soon_gets_no_checkpoint(
    reason: str, ahead: timedelta, delay_ms: int, why: str | None, door: SqlDoor
) -> None:
    """It is accepted; the sweeper ends it at its time, and the answer says why it is not frozen."""
    door.set_setting(retry_threshold_ms=60_000)
    wait: dict[str, Any] = timed(moment(ahead), reason) | {"delay_ms": delay_ms}

    answer = door.defer(wait)

    assert (answer["why"], answer["will_checkpoint"]) == (why, why is None)
    row = door.row(wait["dependency"]["id"])
    assert (row["due_at"] is None) == (answer["due_at"] is None) == (why is not None)


def test_a_time_that_is_over_completes_at_the_first_look(door: SqlDoor) -> None:
    """A wait for a moment in the past is resumed at once."""
    wait = timed("2020-01-01T00:00:00Z")
    door.defer(wait)

    [due] = sweeps.dependencies(door.conn, limit=10)

    assert (due.id, due.calls_for) == (wait["dependency"]["id"], "complete")
    assert door.row(due.id)["outcome_type"] == "success"
    assert dependencies.resume(door.conn, [due.id]) == [due.id]


@pytest.mark.parametrize(
    "workload",
    [
        {"engine": "simulate", "node": "elsewhere", "pid": 7, "started_at_ticks": 7},
        {"engine": "cri", "node": "node-1", "container": "a"},
        {"engine": "simulate", "node": "silent", "pid": 7, "started_at_ticks": 7},
    ],
    ids=["an unknown node", "an engine that it does not offer", "a silent node"],
)
def test_a_node_that_is_not_there_is_looked_at_when_it_appears(workload: dict[str, Any], door: SqlDoor) -> None:
    """The wait is accepted without a checkpoint; once its node offers the engine, its take is called for."""
    door.conn.execute("INSERT INTO node VALUES ('silent', '{simulate}', now() - interval '1 hour')")
    wait = good(workload=workload, delay_ms=0)

    answer = door.defer(wait)

    assert (answer["will_checkpoint"], answer["why"]) == (False, "node-not-seen")
    assert answer["due_at"] is not None
    assert [due.calls_for for due in sweeps.dependencies(door.conn, limit=10)] == ["node"]
    assert sweeps.dependencies(door.conn, limit=10) == []

    node, engine = workload["node"], workload["engine"]
    assert nodes.seen(door.conn, node, engines=[engine], silent=MINUTE)
    assert nodes.wake(door.conn, node) == 1
    assert [due.calls_for for due in sweeps.dependencies(door.conn, limit=10)] == ["take"]


def test_a_completion_that_came_first_is_found_by_its_wait(shared_door: SqlDoor) -> None:
    """The wait is complete from its start, with the outcome that was kept, and gets no checkpoint."""
    wait = good()
    early = shared_door.complete(wait["dependency"]["id"], {"answer": 42})
    assert early == {"first": True, "waiter_known": False, "open_items": None}

    answer = shared_door.defer(wait)

    assert (answer["complete"], answer["will_checkpoint"], answer["why"]) == (True, False, "already-complete")
    row = shared_door.row(wait["dependency"]["id"])
    assert (row["outcome"], row["outcome_type"], row["resumed_at"]) == ({"answer": 42}, "success", None)
    assert row["look_at"] <= row["registered_at"]
    assert shared_door.defer(wait) == answer | {"duplicate": True}


def test_a_refused_wait_leaves_the_early_completion(shared_door: SqlDoor) -> None:
    """A completion waits for its wait, whatever was refused meanwhile."""
    wait = good()
    shared_door.complete(wait["dependency"]["id"], "kept")
    shared_door.cancel(wait["run_id"], "ATTEMPT_OVER", attempt=1)
    assert shared_door.refusal("defer", wait)["code"] == "attempt-superseded"

    assert shared_door.defer(wait | {"attempt": 2})["complete"] is True


def test_a_checkpoint_that_was_called_off_before_is_not_taken(shared_door: SqlDoor) -> None:
    """The call-off is kept until its wait comes, and the wait goes on."""
    wait = good()
    shared_door.cancel(wait["run_id"], "WORKLOAD_DISCONNECTED", wait_number=1)

    answer = shared_door.defer(wait)

    assert (answer["will_checkpoint"], answer["why"], answer["due_at"]) == (False, "called-off", None)
    row = shared_door.row(wait["dependency"]["id"])
    assert (row["call_off_reason"], row["cancelled_at"]) == ("WORKLOAD_DISCONNECTED", None)


def test_a_manual_wait_without_a_time_ends_when_no_checkpoint_will_be_taken(shared_door: SqlDoor) -> None:
    """It waits for its checkpoint alone: without one it is over at once."""
    wait = good(reason="MANUAL")
    shared_door.cancel(wait["run_id"], "MANUAL", wait_number=1)

    shared_door.defer(wait)

    row = shared_door.row(wait["dependency"]["id"])
    assert row["resume_at"] == row["registered_at"]

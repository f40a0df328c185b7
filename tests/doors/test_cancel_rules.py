"""The rules of `checkpoint.cancel`: what each reason ends, before or after its wait, once or twice."""

import json
from typing import Any

import pytest
from bad_defers import good
from sql_door import SqlDoor

from shared.db import deferrals, dependencies
from shared.db.deferrals import Deferral
from shared.vocabulary import CancelReason

OF_A_RUN = [
    CancelReason.RUN_CANCELLED,
    CancelReason.RUN_CRASHED,
    CancelReason.RUN_EXPIRED,
    CancelReason.RUN_COMPLETED,
]
OF_A_CHECKPOINT = [CancelReason.WORKLOAD_DISCONNECTED, CancelReason.MANUAL]
NOTHING = {"called_off": False, "wait_ended": False}
ENDED = {"called_off": False, "wait_ended": True}
CALLED_OFF = {"called_off": True, "wait_ended": False}


def a_wait(door: SqlDoor, number: int = 2, **fields: Any) -> dict[str, Any]:
    """Register a wait that is due at once."""
    wait = good(delay_ms=0, wait_number=number, **fields)
    door.defer(wait)
    return wait


def after(wait: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the run's next wait."""
    name = f"{wait['dependency']['id']}/next"
    return wait | {"wait_number": wait["wait_number"] + 1, "dependency": {"id": name}} | fields


@pytest.mark.parametrize("reason", OF_A_RUN)
def test_the_end_of_a_run_ends_all_its_waits(reason: CancelReason, shared_door: SqlDoor) -> None:
    """The open wait ends, and no later one begins; said twice, it is answered once."""
    wait = a_wait(shared_door)

    assert shared_door.cancel(wait["run_id"], reason) == ENDED
    assert shared_door.cancel(wait["run_id"], reason) == NOTHING

    row = shared_door.row(wait["dependency"]["id"])
    assert (row["cancel_reason"], row["look_at"], row["resumed_at"]) == (reason, None, None)
    assert shared_door.refusal("defer", after(wait))["code"] == "run-over"


@pytest.mark.parametrize("reason", OF_A_RUN)
def test_with_a_number_it_ends_the_waits_up_to_that(reason: CancelReason, shared_door: SqlDoor) -> None:
    """A cancel that names wait 2 never touches wait 3, before or after that came."""
    wait = a_wait(shared_door)
    assert shared_door.cancel(wait["run_id"], reason, wait_number=1) == NOTHING
    assert shared_door.row(wait["dependency"]["id"])["cancelled_at"] is None

    assert shared_door.cancel(wait["run_id"], reason, wait_number=2) == ENDED
    following = after(wait)
    shared_door.defer(following)

    assert shared_door.cancel(wait["run_id"], reason, wait_number=2) == NOTHING
    assert shared_door.row(following["dependency"]["id"])["cancelled_at"] is None


def test_the_end_of_an_attempt_ends_its_waits_and_those_below(shared_door: SqlDoor) -> None:
    """A later attempt waits on, and may be told of the lower one's end late."""
    wait = a_wait(shared_door, attempt=2)
    assert shared_door.cancel(wait["run_id"], "ATTEMPT_OVER", attempt=1) == NOTHING
    assert shared_door.row(wait["dependency"]["id"])["cancelled_at"] is None

    assert shared_door.cancel(wait["run_id"], "ATTEMPT_OVER", attempt=2) == ENDED
    assert shared_door.refusal("defer", after(wait))["code"] == "attempt-superseded"
    following = after(wait, attempt=3)
    shared_door.defer(following)

    assert shared_door.cancel(wait["run_id"], "ATTEMPT_OVER", attempt=2) == NOTHING
    assert shared_door.row(following["dependency"]["id"])["cancelled_at"] is None


@pytest.mark.parametrize("reason", OF_A_CHECKPOINT)
def test_only_the_checkpoint_is_called_off(reason: CancelReason, shared_door: SqlDoor) -> None:
    """The wait goes on and is continued live; the call-off is answered once."""
    wait = a_wait(shared_door)

    assert shared_door.cancel(wait["run_id"], reason, wait_number=2) == CALLED_OFF
    assert shared_door.cancel(wait["run_id"], reason, wait_number=2) == NOTHING

    row = shared_door.row(wait["dependency"]["id"])
    assert (row["call_off_reason"], row["cancelled_at"]) == (reason, None)
    with pytest.raises(AssertionError):
        shared_door.freeze(wait)
    shared_door.resume(wait["dependency"]["id"])
    [resumed] = dependencies.to_continue(shared_door.conn, [wait["dependency"]["id"]])
    assert resumed.checkpoint_id is None


@pytest.mark.parametrize("number", [1, 3])
def test_a_call_off_names_one_wait(number: int, shared_door: SqlDoor) -> None:
    """Another number leaves the open wait's checkpoint on."""
    wait = a_wait(shared_door)

    assert shared_door.cancel(wait["run_id"], "MANUAL", wait_number=number) == NOTHING

    assert shared_door.row(wait["dependency"]["id"])["called_off_at"] is None
    shared_door.freeze(wait)


def test_a_call_off_comes_too_late_for_an_accepted_checkpoint(shared_door: SqlDoor) -> None:
    """What is frozen is restored when its wait ends: nothing changes."""
    wait = a_wait(shared_door)
    checkpoint_id = shared_door.freeze(wait)

    assert shared_door.cancel(wait["run_id"], "MANUAL", wait_number=2) == NOTHING

    assert shared_door.checkpoint(checkpoint_id)["status"] == "accepted"
    assert shared_door.row(wait["dependency"]["id"])["called_off_at"] is None


def test_a_manual_wait_ends_with_its_call_off(shared_door: SqlDoor) -> None:
    """Without a checkpoint there is nothing to wait for: the sweeper ends it now."""
    wait = a_wait(shared_door, reason="MANUAL")

    shared_door.cancel(wait["run_id"], "MANUAL", wait_number=2)

    row = shared_door.row(wait["dependency"]["id"])
    assert row["resume_at"] == row["look_at"] == row["called_off_at"]


def test_a_frozen_run_that_is_over_is_discarded(shared_door: SqlDoor) -> None:
    """Its checkpoint will not be restored; what is left of it is looked at at once."""
    wait = a_wait(shared_door)
    checkpoint_id = shared_door.freeze(wait)

    assert shared_door.cancel(wait["run_id"], "RUN_CANCELLED") == ENDED

    row = shared_door.checkpoint(checkpoint_id)
    assert (row["status"], row["discarded_at"]) == ("discarded", None)
    assert row["look_at"] is not None


def test_a_wait_that_was_resumed_and_is_not_done_gets_no_continuation(shared_door: SqlDoor) -> None:
    """The continuation that is on its way is sent no more; what is done stays done."""
    resumed, done = a_wait(shared_door), a_wait(shared_door)
    for wait in (resumed, done):
        shared_door.resume(wait["dependency"]["id"])
    dependencies.done(shared_door.conn, [done["dependency"]["id"]])

    answers = [shared_door.cancel(wait["run_id"], "RUN_CANCELLED") for wait in (resumed, done)]

    assert answers == [ENDED, NOTHING]
    assert dependencies.to_continue(shared_door.conn, [resumed["dependency"]["id"]]) == []


@pytest.mark.parametrize(
    ("cancel", "token"),
    [
        ({"reason": {"type": "RUN_CANCELLED"}}, (2, "RUN_CANCELLED")),
        ({"reason": {"type": "RUN_CANCELLED"}, "wait_number": 9}, (2, "RUN_CANCELLED")),
        ({"reason": {"type": "ATTEMPT_OVER"}, "attempt": 5}, (2, "ATTEMPT_OVER")),
        ({"reason": {"type": "MANUAL"}, "wait_number": 2}, (2, "MANUAL")),
        ({"reason": {"type": "MANUAL"}, "wait_number": 3}, None),
        ({"reason": {"type": "RUN_CRASHED"}, "wait_number": 1}, None),
    ],
)
def test_the_token_names_the_highest_wait_that_it_ended(
    cancel: dict[str, Any], token: tuple[int, str] | None, shared_door: SqlDoor
) -> None:
    """A token never revokes a later wait: where nothing ended there is none."""
    wait = a_wait(shared_door)
    body = json.dumps({"v": 1, "run_id": wait["run_id"]} | cancel).encode()

    [result] = deferrals.apply(shared_door.conn, [Deferral("cancel", body)])

    assert (result.token and (result.token.wait_number, result.token.reason)) == token


def test_what_was_said_of_a_run_is_only_ever_raised(shared_door: SqlDoor) -> None:
    """A late, lower cancel takes nothing back."""
    run_id = good()["run_id"]
    for number, attempt in ((5, 3), (2, 1)):
        shared_door.cancel(run_id, "RUN_CANCELLED", wait_number=number)
        shared_door.cancel(run_id, "ATTEMPT_OVER", attempt=attempt)
        shared_door.cancel(run_id, "MANUAL", wait_number=number)

    marks = shared_door.conn.execute(
        "SELECT run_over, waits_over_up_to, attempt_over, called_off_up_to FROM run_mark WHERE run_id = %s", [run_id]
    ).fetchone()

    assert marks == (False, 5, 3, 5)

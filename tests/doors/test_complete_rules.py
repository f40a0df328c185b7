"""The rules of `dependency.complete`: the first outcome stays, whoever waits, and a time ends by itself."""

import json
from datetime import timedelta

import pytest
from bad_defers import good, moment, timed
from sql_door import SqlDoor

from shared.db import dependencies
from shared.vocabulary import OutcomeType

MANY = 50


def a_completion(dependency_id: str, outcome: object = None) -> str:
    """Return a completion's JSON."""
    return json.dumps({"v": 1, "dependency_id": dependency_id, "outcome": outcome, "outcome_type": "success"})


@pytest.mark.parametrize("outcome_type", list(OutcomeType))
def test_every_final_state_completes_the_wait(outcome_type: OutcomeType, shared_door: SqlDoor) -> None:
    """A failure resumes the waiter as a success does; the sweeper is to look at it now."""
    wait = good()
    shared_door.defer(wait)

    answer = shared_door.complete(wait["dependency"]["id"], {"a": [1]}, outcome_type)

    assert answer == {"first": True, "waiter_known": True, "open_items": None}
    row = shared_door.row(wait["dependency"]["id"])
    assert (row["outcome"], row["outcome_type"]) == ({"a": [1]}, outcome_type)
    assert row["look_at"] == row["completed_at"]


def test_only_the_resume_worker_marks_a_wait_as_resumed(shared_door: SqlDoor) -> None:
    """A completion at the SQL door leaves `resumed_at` to the hint; a hint for an open wait changes nothing."""
    wait = good()
    shared_door.defer(wait)
    assert dependencies.resume(shared_door.conn, [wait["dependency"]["id"]]) == []

    shared_door.complete(wait["dependency"]["id"])

    assert shared_door.row(wait["dependency"]["id"])["resumed_at"] is None
    assert dependencies.resume(shared_door.conn, [wait["dependency"]["id"]]) == [wait["dependency"]["id"]]
    assert dependencies.resume(shared_door.conn, [wait["dependency"]["id"]]) == []


@pytest.mark.parametrize("is_early", [True, False], ids=["before its wait", "after its wait"])
def test_the_first_outcome_stays(is_early: bool, shared_door: SqlDoor) -> None:  # noqa: FBT001
    """A second completion is answered, and changes nothing."""
    wait = good()
    if not is_early:
        shared_door.defer(wait)
    shared_door.complete(wait["dependency"]["id"], "first")
    row = shared_door.row(wait["dependency"]["id"])

    answer = shared_door.complete(wait["dependency"]["id"], "second", "failure")

    assert answer == {"first": False, "waiter_known": not is_early, "open_items": None}
    assert shared_door.row(wait["dependency"]["id"]) == row


def test_the_first_of_two_in_one_call_stays(shared_door: SqlDoor) -> None:
    """Also within one call the order of the messages decides."""
    wait = good()
    shared_door.defer(wait)
    name = wait["dependency"]["id"]

    answers = shared_door.many("complete", [a_completion(name, "first"), a_completion(name, "second")])

    assert [one["first"] for one in answers] == [True, False]
    assert shared_door.row(name)["outcome"] == "first"


def test_many_are_answered_in_their_order(shared_door: SqlDoor) -> None:
    """Known, unknown and completed dependencies keep their places."""
    waits = [good() for _ in range(MANY)]
    shared_door.many("defer", [json.dumps(wait) for wait in waits])
    names = [wait["dependency"]["id"] for wait in waits]
    shared_door.complete(names[0])
    messages = [a_completion(name) for pair in zip(names, (f"{n}/new" for n in names), strict=True) for name in pair]

    answers = shared_door.many("complete", messages)

    assert [one["waiter_known"] for one in answers] == [True, False] * MANY
    assert [one["first"] for one in answers] == [False] + [True] * (2 * MANY - 1)


def test_a_completion_after_a_cancel_changes_nothing(shared_door: SqlDoor) -> None:
    """The wait is over without a continuation; who completes is told that he was late."""
    wait = good()
    shared_door.defer(wait)
    shared_door.cancel(wait["run_id"], "RUN_CANCELLED")
    row = shared_door.row(wait["dependency"]["id"])

    answer = shared_door.complete(wait["dependency"]["id"])

    assert answer == {"first": False, "waiter_known": True, "open_items": None}
    assert shared_door.row(wait["dependency"]["id"]) == row


@pytest.mark.parametrize("reason", ["WAIT_FOR_DURATION", "RETRYING_AFTER_FAILURE", "MANUAL"])
def test_nobody_completes_a_time(reason: str, shared_door: SqlDoor) -> None:
    """A wait for a time ends by the sweeper's clock alone; its completion is refused by name."""
    wait = timed("2027-01-01T00:00:00Z", reason)
    shared_door.defer(wait)
    row = shared_door.row(wait["dependency"]["id"])

    refusal = shared_door.refusal("complete", a_completion(wait["dependency"]["id"]))

    assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "dependency_id")
    assert shared_door.row(wait["dependency"]["id"]) == row


def test_a_refused_time_hinders_no_other(shared_door: SqlDoor) -> None:
    """In one call a completion of a time is refused, and those around it are written."""
    time, before, after = timed(moment_ahead()), good(), good()
    for wait in (time, before, after):
        shared_door.defer(wait)

    answers = shared_door.many("complete", [a_completion(one["dependency"]["id"]) for one in (before, time, after)])

    assert [one.get("first", "refused") for one in answers] == [True, "refused", True]


def moment_ahead() -> str:
    """Return a moment that no test waits for."""
    return moment(timedelta(hours=1))

"""The functions with which a process that goes on says so: claim, finish, outcomes."""

from datetime import timedelta
from typing import Any

import pytest
from bad_defers import good, timed
from sql_door import SqlDoor

from shared.db import dependencies, sweeps
from shared.db.door import claim_continuation, finish_continuation
from shared.db.statements import only

LEASE = timedelta(milliseconds=60_000)


def a_resumed_wait(door: SqlDoor, outcome: object = None) -> str:
    """Register a wait and resume it; return its continuation's id."""
    wait = good()
    door.defer(wait)
    door.resume(wait["dependency"]["id"], outcome)
    return wait["dependency"]["id"]


def outcomes(door: SqlDoor, continuation_id: str) -> Any:
    """Call the function of the door."""
    return only(door.conn.execute("SELECT continuation_outcomes(%s)", [continuation_id]).fetchone())


def test_a_claim_is_for_one_until_its_lease_is_over(door: SqlDoor) -> None:
    """A second caller is told no; once the lease is over without `done`, one caller is told yes again."""
    name = a_resumed_wait(door)

    assert [claim_continuation(door.conn, name) for _ in range(2)] == [True, False]
    door.set_clock(LEASE - timedelta(seconds=20))
    assert claim_continuation(door.conn, name) is False
    door.set_clock(LEASE + timedelta(seconds=20))
    assert [claim_continuation(door.conn, name) for _ in range(2)] == [True, False]


def test_a_continuation_is_finished_once(shared_door: SqlDoor) -> None:
    """`done` is true once; after it nobody claims, nothing is sent, and the outcomes can still be read."""
    name = a_resumed_wait(shared_door, "answer")

    assert [finish_continuation(shared_door.conn, name) for _ in range(2)] == [True, False]

    assert claim_continuation(shared_door.conn, name) is False
    assert dependencies.to_continue(shared_door.conn, [name]) == []
    assert shared_door.row(name)["look_at"] is None
    assert outcomes(shared_door, name) == {name: {"type": "success", "value": "answer"}}


def test_the_statement_of_many_finishes_each_once(shared_door: SqlDoor) -> None:
    """The drain's `done` is the same: each continuation is ended once, what is none is left out."""
    names = [a_resumed_wait(shared_door) for _ in range(3)]

    assert sorted(dependencies.done(shared_door.conn, [*names, names[0], "unknown"])) == sorted(names)
    assert dependencies.done(shared_door.conn, names) == []


@pytest.mark.parametrize("state", ["unknown", "open", "complete", "cancelled"])
def test_what_has_no_continuation_is_neither_claimed_nor_finished(state: str, shared_door: SqlDoor) -> None:
    """Only a resumed wait has a continuation, until its run is over."""
    wait = good()
    name = wait["dependency"]["id"]
    if state != "unknown":
        shared_door.defer(wait)
    if state == "complete":
        shared_door.complete(name)
    if state == "cancelled":
        shared_door.resume(name)
        shared_door.cancel(wait["run_id"], "RUN_CANCELLED")

    assert claim_continuation(shared_door.conn, name) is False
    if state != "cancelled":
        assert finish_continuation(shared_door.conn, name) is False
        assert outcomes(shared_door, name) is None


@pytest.mark.parametrize("outcome", [None, 0, False, "text", [1, {"a": None}], {"a": {"b": 0.5}}])
def test_an_outcome_comes_back_as_it_was_said(outcome: object, shared_door: SqlDoor) -> None:
    """Keyed by the dependency, with its type; any JSON."""
    name = a_resumed_wait(shared_door, outcome)

    assert outcomes(shared_door, name) == {name: {"type": "success", "value": outcome}}


def test_a_time_has_no_outcome(door: SqlDoor) -> None:
    """A wait that ended at a time continues with an empty object."""
    wait = timed("2020-01-01T00:00:00Z")
    door.defer(wait)
    name = wait["dependency"]["id"]
    sweeps.dependencies(door.conn, limit=1)
    dependencies.resume(door.conn, [name])

    assert outcomes(door, name) == {}

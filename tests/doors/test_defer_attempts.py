"""What a registration ends: the waits of lower attempts, and the continuations of its own attempt's earlier waits."""

import json
from typing import Any

import psycopg
import pytest
from bad_defers import good
from sql_door import Door, SqlDoor

from shared.db import deferrals
from shared.db.deferrals import Deferral


def next_attempt(wait: dict[str, Any]) -> dict[str, Any]:
    """Return the first wait of the next attempt."""
    return wait | {"attempt": 2, "wait_number": 2, "dependency": {"id": f"{wait['dependency']['id']}/2"}}


def test_a_higher_attempt_ends_the_open_wait_of_a_lower_one(shared_door: SqlDoor) -> None:
    """The lower attempt's wait is cancelled as superseded: it gets no continuation."""
    wait = good()
    shared_door.defer(wait)

    shared_door.defer(next_attempt(wait))

    row = shared_door.row(wait["dependency"]["id"])
    assert row["cancelled_at"] is not None
    assert (row["cancel_reason"], row["look_at"]) == ("SUPERSEDED", None)


def test_a_higher_attempt_ends_a_resumed_wait_that_is_not_done(shared_door: SqlDoor) -> None:
    """A continuation that is on its way to the lower attempt is sent no more."""
    wait = good()
    shared_door.defer(wait)
    shared_door.resume(wait["dependency"]["id"])

    shared_door.defer(next_attempt(wait))

    row = shared_door.row(wait["dependency"]["id"])
    assert (row["cancel_reason"], row["done_at"]) == ("SUPERSEDED", None)


def test_a_higher_attempt_leaves_what_is_done(shared_door: SqlDoor) -> None:
    """A wait whose process went on is history."""
    wait = good()
    shared_door.defer(wait)
    shared_door.resume(wait["dependency"]["id"])
    shared_door.conn.execute("SELECT finish_continuation(%s)", [wait["dependency"]["id"]])

    shared_door.defer(next_attempt(wait))

    assert shared_door.row(wait["dependency"]["id"])["cancelled_at"] is None


def test_a_frozen_lower_attempt_is_discarded(shared_door: SqlDoor) -> None:
    """Its checkpoint will not be restored; what is left of it is looked at at once."""
    wait = good(delay_ms=0)
    shared_door.defer(wait)
    checkpoint_id = shared_door.freeze(wait)

    shared_door.defer(next_attempt(wait))

    row = shared_door.checkpoint(checkpoint_id)
    assert row["status"] == "discarded"
    assert row["look_at"] is not None


def test_a_higher_attempt_that_cannot_wait_ends_nothing(shared_door: SqlDoor) -> None:
    """Its dependency is taken: the lower attempt goes on waiting."""
    wait, other = good(), good()
    shared_door.defer(wait)
    shared_door.defer(other)

    refusal = shared_door.refusal("defer", next_attempt(wait) | {"dependency": other["dependency"]})

    assert refusal["code"] == "dependency-taken"
    assert shared_door.row(wait["dependency"]["id"])["cancelled_at"] is None


def test_the_lower_attempts_token_is_raised(shared_door: SqlDoor) -> None:
    """The caller is told which token to raise after its commit: of the waits that were superseded."""
    wait = good()
    shared_door.defer(wait)

    [result] = deferrals.apply(shared_door.conn, [Deferral("defer", json.dumps(next_attempt(wait)).encode())])

    assert result.token is not None
    assert (result.token.run_id, result.token.wait_number) == (wait["run_id"], 1)
    assert result.token.reason == "SUPERSEDED"


def test_a_process_that_waits_again_has_its_earlier_continuation(shared_door: SqlDoor) -> None:
    """Registering wait 2 finishes wait 1 of the same attempt: it is not sent again."""
    wait = good()
    shared_door.defer(wait)
    shared_door.resume(wait["dependency"]["id"])

    shared_door.defer(next_attempt(wait) | {"attempt": 1})

    row = shared_door.row(wait["dependency"]["id"])
    assert row["done_at"] is not None
    assert row["look_at"] is None


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("door", ["defer", "complete", "cancel"])
def test_another_isolation_level_is_refused(door: Door, level: str, shared_door: SqlDoor) -> None:
    """Its snapshot is older than our locks: the function says so, and which level it needs."""
    messages: dict[Door, dict[str, Any]] = {
        "defer": good(),
        "complete": {"v": 1, "dependency_id": "a", "outcome_type": "success"},
        "cancel": {"v": 1, "run_id": "a", "reason": {"type": "RUN_CRASHED"}},
    }
    before = shared_door.counts()

    shared_door.conn.execute(f"SET default_transaction_isolation = '{level.lower()}'".encode())
    try:
        with pytest.raises(psycopg.Error, match="READ COMMITTED") as refused:
            shared_door.call(door, messages[door])
    finally:
        shared_door.conn.execute("RESET default_transaction_isolation")

    assert refused.value.sqlstate == "CK031"
    assert shared_door.counts() == before


def test_a_rollback_leaves_nothing(shared_door: SqlDoor) -> None:
    """What an upstream's transaction took back never happened, at any of the doors."""
    known, new = good(), good()
    shared_door.defer(known)
    before, row = shared_door.counts(), shared_door.row(known["dependency"]["id"])

    with shared_door.conn.transaction(force_rollback=True):
        shared_door.defer(new)
        shared_door.complete(known["dependency"]["id"])
        shared_door.complete("nobody waits for this")
        shared_door.cancel(known["run_id"], "RUN_CANCELLED")
        shared_door.defer(next_attempt(good()))

    assert shared_door.counts() == before
    assert shared_door.row(known["dependency"]["id"]) == row
    assert shared_door.defer(new)["duplicate"] is False


@pytest.mark.parametrize("door", ["defer", "complete", "cancel"])
def test_what_is_to_be_done_at_once_is_notified_after_the_commit(door: Door, shared_door: SqlDoor) -> None:
    """A sweeper hears of a registration, a completion and a cancel when they are committed, and not before."""
    wait = good()
    if door != "defer":
        shared_door.defer(wait)
    messages: dict[Door, dict[str, Any]] = {
        "defer": wait,
        "complete": {"v": 1, "dependency_id": wait["dependency"]["id"], "outcome_type": "success"},
        "cancel": {"v": 1, "run_id": wait["run_id"], "wait_number": 1, "reason": {"type": "MANUAL"}},
    }
    conn = shared_door.conn
    with psycopg.connect(conn.info.dsn, password=conn.info.password, autocommit=True) as listener:
        listener.execute("LISTEN checkpoint_due")

        with conn.transaction():
            shared_door.call(door, messages[door])
            assert list(listener.notifies(timeout=0)) == []

        assert [one.channel for one in listener.notifies(timeout=10, stop_after=1)] == ["checkpoint_due"]

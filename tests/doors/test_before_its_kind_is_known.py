"""What is said of a dependency before its wait: which kind it is of is known when the wait comes, and that counts."""

import json
from datetime import timedelta
from typing import Any

import pytest
from bad_defers import good, moment, timed
from batches import a_batch, answer, ended, grown, name_of, sealed
from sql_door import SqlDoor

from shared.db import dependencies

SIZE_MAX = 10_000


def a_task_or_batch(kind: str) -> dict[str, Any]:
    """Return a wait for a task, or for the batch of one item `a`."""
    return good() if kind == "task" else a_batch("a")


@pytest.mark.parametrize("kind", ["task", "batch"])
@pytest.mark.parametrize("first", ["the whole", "an item", "a seal", "an addition"])
def test_a_wait_finds_what_was_said_for_its_kind(first: str, kind: str, shared_door: SqlDoor) -> None:
    """A word for the other kind, said before or after, neither ends nor hinders the wait."""
    wait = a_task_or_batch(kind)
    whole, item = ended(wait, None, outcome="whole"), ended(wait, "a", outcome="item")
    others = {
        "the whole": [whole, item],
        "an item": [item, whole],
        "a seal": [sealed(wait), whole, item],
        "an addition": [grown(wait, ["a"]), whole, item],
    }
    for message in others[first]:
        assert shared_door.call("complete", message)["first"]

    assert shared_door.defer(wait)["complete"]

    row = shared_door.row(name_of(wait))
    assert (row["outcome"], row["outcome_type"]) == (("whole" if kind == "task" else None), "success")
    assert dependencies.resume(shared_door.conn, [name_of(wait)])
    [(said,)] = shared_door.conn.execute("SELECT continuation_outcomes(%s)", [name_of(wait)]).fetchall()
    expected = {name_of(wait): "whole"} if kind == "task" else {"a": "item"}
    assert said == {id_: {"type": "success", "value": value} for id_, value in expected.items()}


@pytest.mark.parametrize("kind", ["task", "batch"])
def test_a_word_for_the_other_kind_ends_no_wait(kind: str, shared_door: SqlDoor) -> None:
    """A wait for a task is not over since an item is, nor a batch since something whole is."""
    wait = a_task_or_batch(kind)
    other, own = ended(wait, "a"), ended(wait, None)
    if kind == "batch":
        other, own = own, other
    assert shared_door.call("complete", other)["first"]

    assert not shared_door.defer(wait)["complete"]
    assert shared_door.row(name_of(wait))["completed_at"] is None

    assert shared_door.call("complete", own)["first"]
    assert shared_door.row(name_of(wait))["completed_at"] is not None


def test_the_first_of_the_wholes_stays_also_around_an_item(shared_door: SqlDoor) -> None:
    """An item in between starts nothing anew."""
    wait = good()
    messages = [ended(wait, None, outcome=1), ended(wait, "a"), ended(wait, None, "failure", outcome=2)]

    answers = [shared_door.call("complete", one)["first"] for one in messages]

    assert answers == [True, True, False]
    shared_door.defer(wait)
    assert shared_door.row(name_of(wait))["outcome"] == 1


@pytest.mark.parametrize("reason", ["WAIT_FOR_DURATION", "RETRYING_AFTER_FAILURE", "MANUAL"])
def test_nobody_completes_a_time_before_its_wait(reason: str, shared_door: SqlDoor) -> None:
    """After the registration it is refused; before it nobody could know, and it ends no time."""
    wait = timed(moment(timedelta(hours=1)), reason)
    shared_door.complete(name_of(wait))

    assert not shared_door.defer(wait)["complete"]

    row = shared_door.row(name_of(wait))
    assert (row["completed_at"], row["outcome_type"]) == (None, None)


def test_items_that_no_batch_could_hold_are_refused(shared_door: SqlDoor) -> None:
    """Whoever names ever new items of a wait that never comes fills no table; those that are known still count."""
    wait = a_batch("0")
    for start in range(0, SIZE_MAX, 1_000):
        part = range(start, start + 1_000)
        shared_door.many("complete", [json.dumps(ended(wait, str(number))) for number in part])

    refused = shared_door.refusal("complete", ended(wait, "one more"))

    assert (refused["code"], refused["facts"]["field"]) == ("invalid-message", "item_id")
    assert shared_door.call("complete", ended(wait, "7")) == answer(first=False, open_items=0, waiter_known=False)
    assert shared_door.defer(wait)["complete"]

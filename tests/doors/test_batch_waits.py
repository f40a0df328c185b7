"""Batches around their wait: what was said before it came, what does not fit it, what comes after its end."""

import json
from datetime import timedelta
from typing import Any

import pytest
from bad_defers import good
from batches import a_batch, answer, ended, grown, name_of, sealed
from sql_door import SqlDoor

from shared.db import dependencies, sweeps
from shared.errors import Refused
from shared.messages import Complete, Defer
from shared.reading import read

SIZE_MAX = 10_000
SEAL_LIMIT = timedelta(minutes=30)


def is_over(door: SqlDoor, wait: dict[str, Any]) -> bool:
    """Whether what is waited for is over."""
    return door.row(name_of(wait))["completed_at"] is not None


def outcomes(door: SqlDoor, wait: dict[str, Any]) -> Any:
    """Return what the function for continuations says."""
    return door.conn.execute("SELECT continuation_outcomes(%s)", [name_of(wait)]).fetchall()[0][0]


def resume(door: SqlDoor, wait: dict[str, Any]) -> dependencies.Resumed:
    """Resume a batch that is over, and return what its continuation needs."""
    assert dependencies.resume(door.conn, [name_of(wait)]) == [name_of(wait)]
    (row,) = dependencies.to_continue(door.conn, [name_of(wait)])
    return row


@pytest.mark.parametrize("early", ["all", "one"])
def test_items_that_ended_before_the_wait_count_when_it_comes(early: str, shared_door: SqlDoor) -> None:
    """Nobody waits yet: kept; the wait that finds them all is over at once, and is answered so."""
    wait = a_batch("a", "b")
    for item in "ab" if early == "all" else "a":
        said = shared_door.call("complete", ended(wait, item, outcome=item))
        assert said == answer(first=True, open_items=0, waiter_known=False)

    assert shared_door.defer(wait)["complete"] is (early == "all")

    assert is_over(shared_door, wait) is (early == "all")
    said = shared_door.call("complete", ended(wait, "b", "failure"))
    assert said == answer(first=early == "one", open_items=0)
    resume(shared_door, wait)
    assert outcomes(shared_door, wait)["a"] == {"type": "success", "value": "a"}


def test_items_that_were_added_before_the_wait_belong_to_it(shared_door: SqlDoor) -> None:
    """Beside those that it names itself; an item of both is one."""
    wait = a_batch("a", "b", sealed=False)
    shared_door.call("complete", grown(wait, ["b", "c"]))

    shared_door.defer(wait)

    assert shared_door.row(name_of(wait))["open_items"] == 3
    assert shared_door.call("complete", sealed(wait)) == answer(first=True, open_items=3)


def test_a_seal_that_comes_before_the_wait_holds(shared_door: SqlDoor) -> None:
    """Items that end between the seal and the wait are kept: only the wait tells which items there are."""
    wait = a_batch("a", "b", sealed=False)
    assert shared_door.call("complete", sealed(wait)) == answer(first=True, open_items=0, waiter_known=False)
    shared_door.call("complete", ended(wait, "a"))

    shared_door.defer(wait)

    assert shared_door.row(name_of(wait))["open_items"] == 1
    shared_door.call("complete", ended(wait, "b"))
    assert is_over(shared_door, wait)


def test_a_refused_wait_leaves_what_came_before_it(shared_door: SqlDoor) -> None:
    """The run was over; the next run that waits for the batch finds what was kept."""
    wait = a_batch("a", "b")
    shared_door.call("complete", ended(wait, "a"))
    shared_door.cancel(wait["run_id"], "RUN_CANCELLED")
    assert shared_door.refusal("defer", wait)["code"] == "run-over"

    shared_door.defer(wait | {"run_id": f"{wait['run_id']}/other"})

    assert shared_door.row(name_of(wait))["open_items"] == 1


def test_items_before_and_in_the_wait_are_at_most_ten_thousand_in_all(shared_door: SqlDoor) -> None:
    """Added before, they count with those that the wait names; refused by name, and what was kept stays."""
    wait = a_batch("a", "b")
    shared_door.call("complete", grown(wait, [f"item-{number}" for number in range(SIZE_MAX - 1)]))

    refusal = shared_door.refusal("defer", wait)

    assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "dependency.items")
    wait["dependency"]["items"] = ["a", "item-7"]
    shared_door.defer(wait)
    assert shared_door.row(name_of(wait))["open_items"] == SIZE_MAX


@pytest.mark.parametrize("sealed_again", [None, True])
def test_a_wait_for_a_batch_that_is_registered_again_gets_the_same_answer(
    sealed_again: bool | None,  # noqa: FBT001  # the parameter of the test
    shared_door: SqlDoor,
) -> None:
    """Also when the default is written out, and after items have ended; nothing changes."""
    wait = a_batch("a", "b")
    first = shared_door.defer(wait)
    shared_door.call("complete", ended(wait, "a"))
    row = shared_door.row(name_of(wait))
    if sealed_again is not None:
        wait["dependency"]["sealed"] = sealed_again

    assert shared_door.defer(wait) == first | {"duplicate": True}

    assert shared_door.row(name_of(wait)) == row


@pytest.mark.parametrize("change", [{"items": ["a"]}, {"items": ["a", "b", "c"]}, {"sealed": False}])
def test_the_same_wait_for_another_batch_is_a_conflict(change: dict[str, Any], shared_door: SqlDoor) -> None:
    """Which items, and whether more may come, is what the wait is."""
    wait = a_batch("a", "b")
    shared_door.defer(wait)

    assert shared_door.refusal("defer", wait | {"dependency": wait["dependency"] | change})["code"] == "wait-conflict"


def test_an_item_is_needed_for_a_batch_and_refused_for_a_task(shared_door: SqlDoor) -> None:
    """Both ways by the field, and neither wait is touched."""
    batch, task = a_batch("a"), good()
    for wait in (batch, task):
        shared_door.defer(wait)
    rows = [shared_door.row(name_of(wait)) for wait in (batch, task)]

    for said in (ended(batch, None), ended(task, "a"), grown(task, ["a"]), sealed(task)):
        refusal = shared_door.refusal("complete", said)
        assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "item_id")

    assert [shared_door.row(name_of(wait)) for wait in (batch, task)] == rows


@pytest.mark.parametrize("field", ["outcome", "outcome_type"])
@pytest.mark.parametrize("how", ["grown", "sealed"])
def test_a_message_that_only_adds_or_seals_has_no_outcome(how: str, field: str, shared_door: SqlDoor) -> None:
    """It needs none, and one is refused at both doors; null is none."""
    wait = a_batch(sealed=False)
    shared_door.defer(wait)
    said = grown(wait, ["a"]) if how == "grown" else sealed(wait)
    bad = said | {field: "success"}

    assert shared_door.refusal("complete", bad)["facts"]["field"] == "outcome"
    with pytest.raises(Refused) as refused:
        read(json.dumps(bad).encode(), Complete)
    assert refused.value.facts["field"] == "outcome"

    null = said | {field: None}
    read(json.dumps(null).encode(), Complete)
    assert shared_door.call("complete", null)["first"]


@pytest.mark.parametrize("fields", [{"item_id": "a"}, {"item_id": "a", "items_added": ["a"]}, {"item_id": None}])
def test_a_message_that_ends_something_needs_an_outcome_type(fields: dict[str, Any], shared_door: SqlDoor) -> None:
    """Also when it adds besides; refused at both doors."""
    bad = {"v": 1, "dependency_id": "batch"} | fields

    assert shared_door.refusal("complete", bad)["facts"]["field"] == "outcome_type"
    with pytest.raises(Refused) as refused:
        read(json.dumps(bad).encode(), Complete)
    assert refused.value.facts["field"] == "outcome_type"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (a_batch(*(f"item-{number}" for number in range(SIZE_MAX + 1))), "dependency.items"),
        (a_batch("a", "a"), "dependency.items"),
        (a_batch("a") | {"dependency": {"id": "batch"}}, "dependency.items"),
        (a_batch("a") | {"reason": "WAIT_FOR_TASK"}, "dependency.items"),
        (grown(a_batch(), ["a", "a"]), "items_added"),
        (grown(a_batch(), [f"item-{number}" for number in range(SIZE_MAX + 1)]), "items_added"),
    ],
)
def test_lists_of_items_are_held_to_the_same_rules_at_both_doors(
    message: dict[str, Any], field: str, shared_door: SqlDoor
) -> None:
    """Distinct, at most ten thousand, with a batch always and without it never."""
    door = "defer" if "run_id" in message else "complete"

    assert shared_door.refusal(door, message)["facts"]["field"] == field
    with pytest.raises(Refused) as refused:
        read(json.dumps(message).encode(), Defer if door == "defer" else Complete)
    assert (refused.value.code, refused.value.facts["field"]) == ("invalid-message", field)


def test_batches_and_tasks_in_one_call_are_answered_in_their_order(shared_door: SqlDoor) -> None:
    """Each answer stands where its message stood, the refused too; each wait is judged for itself."""
    one, two, task, other = a_batch("a", "b"), a_batch("a", sealed=False), good(), good()
    for wait in (one, two, task, other):
        shared_door.defer(wait)
    said = [
        (ended(two, "a"), 0),
        (ended(task, None), None),
        (ended(one, "a"), 1),
        (ended(one, "unknown"), "unknown-item"),
        (ended(other, "a"), "invalid-message"),
        (sealed(two), 0),
        (ended(task, None), None),
        (ended(one, None), "invalid-message"),
        (ended(one, "b"), 0),
        ({"v": 1}, "invalid-message"),
        (ended(other, None), None),
    ]

    answers = shared_door.many("complete", [json.dumps(message) for message, _ in said])

    shown = [one["refused"]["code"] if "refused" in one else one["open_items"] for one in answers]
    assert shown == [expected for _, expected in said]
    firsts = [one["first"] for one in answers if "refused" not in one]
    assert firsts == [True, True, True, True, False, True, True]
    assert all(is_over(shared_door, wait) for wait in (one, two, task, other))


def test_items_of_a_batch_that_was_cancelled_change_nothing(shared_door: SqlDoor) -> None:
    """The wait is over without a continuation; who completes is told that he was late."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)
    shared_door.cancel(wait["run_id"], "RUN_CANCELLED")
    row = shared_door.row(name_of(wait))

    answers = [shared_door.call("complete", said) for said in (ended(wait, "a"), grown(wait, ["b"]), sealed(wait))]

    assert answers == [answer(first=False, open_items=1)] * 3
    assert shared_door.row(name_of(wait)) == row


def test_a_batch_that_is_never_sealed_is_completed_by_a_sweep(door: SqlDoor) -> None:
    """Vector 28: timed out when its limit is over and not before; what never ended says so, what ended stays."""
    wait = a_batch("a", "b", sealed=False, delay_ms=0)
    door.defer(wait)
    door.call("complete", ended(wait, "a", "failure", outcome="own"))

    door.set_clock(SEAL_LIMIT - timedelta(seconds=5))
    sweeps.dependencies(door.conn, limit=10)
    assert not is_over(door, wait)
    door.set_clock(SEAL_LIMIT + timedelta(seconds=5))
    [due] = sweeps.dependencies(door.conn, limit=10)

    assert (due.id, due.calls_for) == (name_of(wait), "seal")
    assert door.row(name_of(wait))["outcome_type"] == "timed_out"
    resumed = resume(door, wait)
    assert (
        resumed.batch_outcomes
        == outcomes(door, wait)
        == {
            "a": {"type": "failure", "value": "own"},
            "b": {"type": "timed_out", "value": None},
        }
    )


def test_what_ends_after_its_batch_has_timed_out_is_late(door: SqlDoor) -> None:
    """A continuation that is sent again says what it said: the first outcome stays."""
    wait = a_batch("a", sealed=False)
    door.defer(wait)
    door.set_clock(SEAL_LIMIT + timedelta(seconds=5))
    sweeps.dependencies(door.conn, limit=10)
    before = resume(door, wait)

    assert door.call("complete", ended(wait, "a")) == answer(first=False, open_items=1)
    assert door.refusal("complete", grown(wait, ["b"]))["code"] == "batch-sealed"

    assert dependencies.to_continue(door.conn, [name_of(wait)]) == [before]
    assert outcomes(door, wait) == {"a": {"type": "timed_out", "value": None}}


@pytest.mark.parametrize("delay_ms", [0, 45_000, 120_000])
def test_an_unsealed_batch_keeps_its_limit_when_its_checkpoint_is_called_off(delay_ms: int, door: SqlDoor) -> None:
    """Only its checkpoint is off: the sweeper looks at the limit, whatever it would have looked at before."""
    wait = a_batch("a", sealed=False, delay_ms=delay_ms)
    door.defer(wait)

    assert door.cancel(wait["run_id"], "MANUAL", wait_number=1)["called_off"]

    row = door.row(name_of(wait))
    assert row["look_at"] == row["registered_at"] + SEAL_LIMIT
    door.set_clock(SEAL_LIMIT + timedelta(seconds=5))
    assert [due.calls_for for due in sweeps.dependencies(door.conn, limit=10)] == ["seal"]


@pytest.mark.parametrize(
    ("node", "delay_ms", "step"), [("node-1", 0, "take"), ("elsewhere", 0, "node"), ("node-1", 172_800_000, "later")]
)
def test_an_unsealed_batch_is_looked_at_by_its_limit(node: str, delay_ms: int, step: str, door: SqlDoor) -> None:
    """Whatever a sweep found and however long the gap after that is: it comes back when the limit is over."""
    door.set_setting(resend_first_ms=7_200_000, resend_max_ms=7_200_000)
    workload = {"engine": "simulate", "node": node, "pid": 7, "started_at_ticks": 70}
    wait = a_batch("a", sealed=False, delay_ms=delay_ms, workload=workload)
    door.defer(wait)

    assert [due.calls_for for due in sweeps.dependencies(door.conn, limit=10)] == [step]

    row = door.row(name_of(wait))
    assert row["look_at"] == row["registered_at"] + SEAL_LIMIT


def test_outcomes_above_a_mebibyte_are_left_to_the_function(shared_door: SqlDoor) -> None:
    """Seventeen items with 64 KiB each: none comes with the row, all can be read."""
    value = "x" * 65_000
    wait = a_batch(*(f"item-{number}" for number in range(17)))
    shared_door.defer(wait)
    for item in wait["dependency"]["items"][:-1]:
        shared_door.call("complete", ended(wait, item, outcome=value))
    shared_door.call("complete", ended(wait, "item-16", "failure", outcome=value))

    resumed = resume(shared_door, wait)

    assert (resumed.is_batch, resumed.batch_outcomes) == (True, None)
    kept = outcomes(shared_door, wait)
    assert len(kept) == 17
    assert kept["item-16"] == {"type": "failure", "value": value}

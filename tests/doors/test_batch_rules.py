"""Batches at the SQL door: each item is counted once, however the batch grows and whenever it is sealed."""

import json
from typing import Any

import pytest
from batches import a_batch, answer, ended, grown, name_of, sealed
from sql_door import SqlDoor

from shared.vocabulary import OutcomeType

SIZE_MAX = 10_000
PART = 500


def is_over(door: SqlDoor, wait: dict[str, Any]) -> bool:
    """Whether what is waited for is over."""
    return door.row(name_of(wait))["completed_at"] is not None


def outcomes(door: SqlDoor, wait: dict[str, Any]) -> dict[str, Any]:
    """Return how a batch's items ended."""
    return door.conn.execute("SELECT batch_outcomes(%s)", [name_of(wait)]).fetchall()[0][0]


def test_a_batch_is_over_with_its_last_item(shared_door: SqlDoor) -> None:
    """Two of three change nothing but the count; the third completes the wait, for the sweeper to look at now."""
    wait = a_batch("a", "b", "c")
    shared_door.defer(wait)

    for item, still_open in (("b", 2), ("a", 1)):
        assert shared_door.call("complete", ended(wait, item)) == answer(first=True, open_items=still_open)
        assert not is_over(shared_door, wait)
    assert shared_door.call("complete", ended(wait, "c")) == answer(first=True, open_items=0)

    row = shared_door.row(name_of(wait))
    assert (row["outcome_type"], row["outcome"], row["resumed_at"]) == ("success", None, None)
    assert row["look_at"] == row["completed_at"] is not None


def test_an_item_that_ends_twice_is_counted_once(shared_door: SqlDoor) -> None:
    """The first outcome of an item stays, within one call and between calls; the count is what it was."""
    wait = a_batch("a", "b")
    shared_door.defer(wait)

    calls = [ended(wait, "a", outcome=1), ended(wait, "a", "failure", outcome=2)]
    answers = shared_door.many("complete", [json.dumps(one) for one in calls])
    again = shared_door.call("complete", calls[1])

    assert answers == [answer(first=True, open_items=1), answer(first=False, open_items=1)]
    assert again == answer(first=False, open_items=1)
    assert outcomes(shared_door, wait)["a"] == {"type": "success", "value": 1}
    assert not is_over(shared_door, wait)


@pytest.mark.parametrize("outcome_type", list(OutcomeType))
def test_every_final_state_of_an_item_counts(outcome_type: OutcomeType, shared_door: SqlDoor) -> None:
    """A batch whose items failed is over as one whose items succeeded; each says how it ended."""
    wait = a_batch("a")
    shared_door.defer(wait)

    shared_door.call("complete", ended(wait, "a", outcome_type, outcome={"n": [1]}))

    assert is_over(shared_door, wait)
    assert outcomes(shared_door, wait) == {"a": {"type": outcome_type, "value": {"n": [1]}}}


def test_a_batch_that_is_sealed_after_its_last_item_is_over_then(shared_door: SqlDoor) -> None:
    """Vector 25: no item is open, and more could come: the seal ends it, said once or twice."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)

    shared_door.call("complete", ended(wait, "a"))
    assert not is_over(shared_door, wait)
    assert shared_door.call("complete", sealed(wait)) == answer(first=True, open_items=0)

    assert is_over(shared_door, wait)
    assert shared_door.call("complete", sealed(wait)) == answer(first=False, open_items=0)


def test_a_batch_that_is_sealed_before_its_last_item_is_over_with_that(shared_door: SqlDoor) -> None:
    """The seal alone ends nothing while an item is open."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)

    assert shared_door.call("complete", sealed(wait)) == answer(first=True, open_items=1)
    assert not is_over(shared_door, wait)
    shared_door.call("complete", ended(wait, "a"))

    assert is_over(shared_door, wait)


def test_a_batch_grows_while_it_is_unsealed(shared_door: SqlDoor) -> None:
    """What was added counts, each once however often it is added; all of it has to end."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)

    assert shared_door.call("complete", grown(wait, ["b", "c"])) == answer(first=True, open_items=3)
    assert shared_door.call("complete", grown(wait, ["c", "a"])) == answer(first=False, open_items=3)
    assert shared_door.call("complete", grown(wait, ["d"], sealed=True)) == answer(first=True, open_items=4)
    for item in "abc":
        shared_door.call("complete", ended(wait, item))
    assert not is_over(shared_door, wait)
    shared_door.call("complete", ended(wait, "d"))

    assert is_over(shared_door, wait)
    assert sorted(outcomes(shared_door, wait)) == ["a", "b", "c", "d"]


def test_one_message_adds_ends_and_seals(shared_door: SqlDoor) -> None:
    """In this order: the item that it ends may be the one that it adds."""
    wait = a_batch(sealed=False)
    shared_door.defer(wait)

    said = ended(wait, "a", items_added=["a"], sealed=True)

    assert shared_door.call("complete", said) == answer(first=True, open_items=0)
    assert is_over(shared_door, wait)
    assert shared_door.call("complete", said) == answer(first=False, open_items=0)


def test_an_item_that_ends_before_it_is_added_is_kept(shared_door: SqlDoor) -> None:
    """Kept while the batch is unsealed, and counted as ended from the moment it is a member."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)

    assert shared_door.call("complete", ended(wait, "b", outcome="early")) == answer(first=True, open_items=1)
    assert shared_door.call("complete", ended(wait, "b", "failure")) == answer(first=False, open_items=1)
    assert sorted(outcomes(shared_door, wait)) == ["a"]
    assert shared_door.call("complete", grown(wait, ["b"]))["open_items"] == 1

    shared_door.call("complete", ended(wait, "a", sealed=True))
    assert is_over(shared_door, wait)
    assert outcomes(shared_door, wait)["b"] == {"type": "success", "value": "early"}


def test_an_item_that_is_not_in_a_sealed_batch_is_unknown(shared_door: SqlDoor) -> None:
    """Also one that was kept and then never added; nothing changes."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)
    shared_door.call("complete", ended(wait, "kept"))
    shared_door.call("complete", sealed(wait))
    row = shared_door.row(name_of(wait))

    for item in ("other", "kept"):
        refusal = shared_door.refusal("complete", ended(wait, item))
        assert (refusal["code"], refusal["facts"]) == (
            "unknown-item",
            {"dependency_id": name_of(wait), "item_id": item},
        )

    assert shared_door.row(name_of(wait)) == row
    assert sorted(outcomes(shared_door, wait)) == ["a"]


def test_only_new_items_are_refused_by_a_sealed_batch(shared_door: SqlDoor) -> None:
    """The same message again is no mistake; a new item among known ones refuses the whole message."""
    wait = a_batch("a", sealed=False)
    shared_door.defer(wait)
    said = grown(wait, ["b"], sealed=True)
    shared_door.call("complete", said)

    assert shared_door.call("complete", said) == answer(first=False, open_items=2)
    refusal = shared_door.refusal("complete", ended(wait, "a", items_added=["b", "new"]))

    assert refusal["code"] == "batch-sealed"
    assert shared_door.row(name_of(wait))["open_items"] == 2


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_batch_of_nothing(is_sealed: bool, shared_door: SqlDoor) -> None:  # noqa: FBT001  # the test's parameter
    """Vector 27: sealed it is over at once, and nothing is scheduled; unsealed it waits for its seal."""
    wait = a_batch(sealed=is_sealed)

    said = shared_door.defer(wait)

    assert said["complete"] is is_over(shared_door, wait) is is_sealed
    if is_sealed:
        assert (said["will_checkpoint"], said["why"]) == (False, "already-complete")
    else:
        shared_door.call("complete", sealed(wait))
    assert is_over(shared_door, wait)
    assert outcomes(shared_door, wait) == {}


def test_ten_thousand_items_are_one_batch(shared_door: SqlDoor) -> None:
    """Registered at once and ended in parts: only the last of them all ends the wait."""
    names = [f"item-{number}" for number in range(SIZE_MAX)]
    wait = a_batch(*names)
    shared_door.defer(wait)

    for start in range(0, SIZE_MAX, PART):
        assert not is_over(shared_door, wait)
        part = [json.dumps(ended(wait, name)) for name in names[start : start + PART]]
        answers = shared_door.many("complete", part)
        assert [one["open_items"] for one in answers] == [SIZE_MAX - start - n for n in range(1, PART + 1)]

    assert is_over(shared_door, wait)
    assert len(outcomes(shared_door, wait)) == SIZE_MAX


def test_more_than_ten_thousand_items_are_refused(shared_door: SqlDoor) -> None:
    """In a registration, in one message that adds, and by growing beyond it; what is there stays."""
    names = [f"item-{number}" for number in range(SIZE_MAX + 1)]
    refusal = shared_door.refusal("defer", a_batch(*names))
    assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "dependency.items")

    wait = a_batch(*names[:SIZE_MAX], sealed=False)
    shared_door.defer(wait)
    for added in (names, names[-1:]):
        refusal = shared_door.refusal("complete", grown(wait, added))
        assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "items_added")

    assert shared_door.call("complete", grown(wait, names[:SIZE_MAX])) == answer(first=False, open_items=SIZE_MAX)


def test_items_that_ended_before_they_are_added_count_once_against_the_limit(shared_door: SqlDoor) -> None:
    """Ten thousand that were kept can all become members."""
    names = [f"item-{number}" for number in range(SIZE_MAX)]
    wait = a_batch(sealed=False)
    shared_door.defer(wait)
    for start in range(0, SIZE_MAX, PART):
        shared_door.many("complete", [json.dumps(ended(wait, name)) for name in names[start : start + PART]])

    said = shared_door.call("complete", grown(wait, names, sealed=True))

    assert said["open_items"] == 0
    assert is_over(shared_door, wait)

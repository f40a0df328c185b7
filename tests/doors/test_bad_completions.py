"""Tables of bad and borderline completions and cancels, held against both doors: the same code, the same field."""

import json

import pytest
from bad_completions import (
    BAD_CANCELS,
    BAD_COMPLETIONS,
    GOOD_CANCELS,
    GOOD_COMPLETIONS,
    cancel,
    completion,
)
from bad_input import Bad
from sql_door import Door, SqlDoor

from shared.errors import Refused
from shared.messages import Cancel, Complete, Message
from shared.reading import read

TYPES: dict[Door, type[Message]] = {"complete": Complete, "cancel": Cancel}
BAD: list[tuple[Door, Bad]] = [
    *(("complete", case) for case in BAD_COMPLETIONS),
    *(("cancel", case) for case in BAD_CANCELS),
]
AT_SQL = [(door, case) for door, case in BAD if case.is_jsonb]
GOOD: dict[str, tuple[Door, str]] = {
    **{f"complete-{name}": ("complete", text) for name, text in GOOD_COMPLETIONS.items()},
    **{f"cancel-{name}": ("cancel", text) for name, text in GOOD_CANCELS.items()},
}


@pytest.mark.parametrize(("door", "case"), BAD, ids=str)
def test_the_type_door_refuses_it_by_name(door: Door, case: Bad) -> None:
    """A bad message is refused with its code, naming the field, in words and with what to do."""
    with pytest.raises(Refused) as refused:
        read(case.text.encode(), TYPES[door])

    assert (refused.value.code, refused.value.facts.get("field")) == (case.code, case.field)
    assert "expected" in refused.value.message
    assert refused.value.message.startswith(case.field or "the message")
    assert "(?" not in refused.value.message


@pytest.mark.parametrize(("door", "case"), AT_SQL, ids=str)
def test_the_sql_door_refuses_it_by_name(door: Door, case: Bad, shared_door: SqlDoor) -> None:
    """A bad message is refused with its SQLSTATE, code and field, and no row is written."""
    before = shared_door.counts()

    refusal = shared_door.refusal(door, case.text)

    assert (refusal["code"], refusal["facts"]["field"]) == (case.code, case.field)
    assert "expected" in refusal["problem"]
    assert shared_door.counts() == before


@pytest.mark.parametrize(("door", "text"), GOOD.values(), ids=GOOD.keys())
def test_what_stands_just_inside_is_taken_at_both_doors(door: Door, text: str, shared_door: SqlDoor) -> None:
    """A borderline message is taken as it is."""
    read(text.encode(), TYPES[door])
    answer = shared_door.call(door, text)

    assert set(answer) == {
        "complete": {"first", "waiter_known", "open_items"},
        "cancel": {"called_off", "wait_ended"},
    }.get(door)
    if door == "complete":
        said = json.loads(text)
        assert shared_door.row(said["dependency_id"])["outcome"] == said.get("outcome")


@pytest.mark.parametrize("door", ["complete", "cancel"])
def test_a_refused_element_hinders_no_other(door: Door, shared_door: SqlDoor) -> None:
    """Of many in one call, each is answered in its place: the bad refused, the good written."""
    bad = [case for of, case in AT_SQL if of == door and len(case.text) < 100_000]
    make = {"complete": completion, "cancel": cancel}[door]
    messages = [text for case in bad for text in (case.text, json.dumps(make()))]

    answers = shared_door.many(door, messages)

    refused = [(one["refused"]["code"], one["refused"]["facts"]["field"]) for one in answers[0::2]]
    assert refused == [(case.code, case.field) for case in bad]
    assert all("refused" not in one for one in answers[1::2])


@pytest.mark.parametrize("door", ["complete", "cancel"])
def test_a_thousand_and_one_are_refused_as_a_whole(door: Door, shared_door: SqlDoor) -> None:
    """A call takes 1,000 messages; with 1,001 nothing is written."""
    make = {"complete": completion, "cancel": cancel}[door]
    before = shared_door.counts()

    with pytest.raises(Exception, match="at most 1,000 messages") as refused:
        shared_door.many(door, [json.dumps(make()) for _ in range(1_001)])

    assert getattr(refused.value, "sqlstate", None) == "CK001"
    assert shared_door.counts() == before

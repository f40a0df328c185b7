"""One table of bad and borderline registrations, held against every door: the same code, the same field."""

import json

import pytest
from bad_defers import BAD_DEFERS, GOOD_DEFERS, good, spoiled
from bad_input import Bad
from sql_door import SqlDoor

from shared.errors import Refused
from shared.messages import Defer
from shared.reading import read

AT_SQL = [case for case in BAD_DEFERS if case.is_jsonb]


@pytest.mark.parametrize("case", BAD_DEFERS, ids=str)
def test_the_type_door_refuses_it_by_name(case: Bad) -> None:
    """A bad message is refused with its code, naming the field, in words and with what to do."""
    with pytest.raises(Refused) as refused:
        read(case.text.encode(), Defer)

    assert (refused.value.code, refused.value.facts.get("field")) == (case.code, case.field)
    assert "expected" in refused.value.message
    assert refused.value.message.startswith(case.field or "the message")
    assert "(?" not in refused.value.message


@pytest.mark.parametrize("case", AT_SQL, ids=str)
def test_the_sql_door_refuses_it_by_name(case: Bad, shared_door: SqlDoor) -> None:
    """A bad message is refused with its SQLSTATE, code and field, and no row is written."""
    before = shared_door.counts()

    refusal = shared_door.refusal("defer", case.text)

    assert (refusal["code"], refusal["facts"]["field"]) == (case.code, case.field)
    assert "expected" in refusal["problem"]
    assert shared_door.counts() == before


@pytest.mark.parametrize("case", [case for case in BAD_DEFERS if not case.is_jsonb], ids=str)
def test_postgres_itself_refuses_what_is_no_json(case: Bad, shared_door: SqlDoor) -> None:
    """What jsonb cannot hold is an error of Postgres' own: bad data, or too deep."""
    state = shared_door.sqlstate("defer", case.text)

    assert state is not None
    assert state[:2] in {"22", "54"}


def test_a_refused_element_hinders_no_other(shared_door: SqlDoor) -> None:
    """Of many registrations in one call, each is answered in its place: the bad refused, the good written."""
    bad = [case for case in AT_SQL if len(case.text) < 100_000]
    between = [good() for _ in bad]
    messages = [text for case, other in zip(bad, between, strict=True) for text in (case.text, json.dumps(other))]

    answers = shared_door.many("defer", messages)

    refused = [(one["refused"]["code"], one["refused"]["facts"]["field"]) for one in answers[0::2]]
    assert refused == [(case.code, case.field) for case in bad]
    assert [one["dependency_id"] for one in answers[1::2]] == [one["dependency"]["id"] for one in between]


def test_a_thousand_at_once_are_registered_and_one_more_refuses_all(shared_door: SqlDoor) -> None:
    """A call takes 1,000 registrations; with 1,001 nothing is written."""
    thousand = [json.dumps(good()) for _ in range(1_000)]
    before = shared_door.counts()

    with pytest.raises(Exception, match="at most 1,000 messages") as refused:
        shared_door.many("defer", [*thousand, json.dumps(good())])
    assert getattr(refused.value, "sqlstate", None) == "CK001"
    assert shared_door.counts() == before

    answers = shared_door.many("defer", thousand)
    assert [one["duplicate"] for one in answers] == [False] * 1_000
    assert shared_door.counts()[0] == before[0] + 1_000


@pytest.mark.parametrize("text", GOOD_DEFERS.values(), ids=GOOD_DEFERS.keys())
def test_what_stands_just_inside_is_taken_at_both_doors(text: str, shared_door: SqlDoor) -> None:
    """A borderline message is taken as it is: what Postgres keeps is what was said."""
    said = json.loads(text)

    read(text.encode(), Defer)
    answer = shared_door.call("defer", text)

    assert answer["dependency_id"] == said["dependency"]["id"]
    kept = shared_door.row(said["dependency"]["id"])
    assert (kept["run_id"], kept["key"]) == (said["run_id"], said.get("key"))


def test_ids_that_differ_by_form_or_case_are_different_runs(shared_door: SqlDoor) -> None:
    """An id is data: neither composed letters nor upper case are folded."""
    names = ["caf\u00e9-1", "cafe\u0301-1", "CAF\u00c9-1"]

    answers = [shared_door.call("defer", spoiled(good(), "run_id", name)) for name in names]

    assert [one["duplicate"] for one in answers] == [False, False, False]


def test_a_batch_of_nothing_is_sound_at_the_type_door() -> None:
    """A batch without items, sealed, is a message: it is over at once."""
    read(json.dumps(good(reason="WAIT_FOR_BATCH", dependency={"id": "b", "items": []})).encode(), Defer)

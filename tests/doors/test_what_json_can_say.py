"""JSON that is sound and that somebody on the way could not hold: drawn as one line by both doors."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from bad_completions import cancel, completion
from bad_defers import timed
from sql_door import SqlDoor

from shared.errors import Refused
from shared.messages import Cancel, Complete, Defer
from shared.reading import read

# What it is: the JSON of the outcome. Each is a number that upstreams in most languages would get wrong, or not read.
TOO_FAR = {
    "one past a double": "1.8e308",
    "1e400": "1e400",
    "minus 1e400": "-1e400",
    "an integer of 310 digits": "9" * 310,
    "an integer of 4,300 digits": "9" * 4_300,
    "an integer of 50,000 digits": "9" * 50_000,
    "inside": '{"a": [1, {"b": 1e309}]}',
}
# Postgres itself knows no numeric so fine.
TOO_FINE = {
    "1e-16384": "1e-16384",
    "1e-20000": "1e-20000",
    "zero of 20,000 digits": f"0.{'0' * 20_000}",
    "an exponent of 5,000 digits": f"1e-{'9' * 5_000}",
    "a fine zero": "0e-16384",
    "inside": '[1, {"b": 1.5e-16383}]',
}
JUST_INSIDE = {
    "the largest double": str(int(1.7976931348623157e308)),
    "an integer of 309 digits": "1" + "0" * 308,
    "2^64": str(2**64),
    "minus 2^63 - 1": str(-(2**63) - 1),
    "1e-16383": "1e-16383",
    "a fraction of 16,383 digits": f"0.{'1' * 16_383}",
    "1e-400": "1e-400",
    "text that spells a NUL": json.dumps("\\u0000"),
    "text that spells one behind a backslash": json.dumps("\\\\u0000"),
    "text of digits": json.dumps("9" * 5_000),
    "text of an exponent": json.dumps("1e-99999"),
}
WITH_NUL = {
    "text": r'"a\u0000b"',
    "a name": r'{"a\u0000b": 1}',
    "inside": r'[{"a": ["\u0000"]}]',
    "behind a backslash": r'"\\\\\u0000"',
    "what is replaced": r'{"a": {"\u0000": 1}, "a": 2}',
}


def with_outcome(text: str) -> str:
    """Return a sound completion whose outcome is this JSON."""
    return json.dumps(completion()).replace('"outcome": null', f'"outcome": {text}')


@pytest.mark.parametrize("text", (TOO_FAR | TOO_FINE).values(), ids=(TOO_FAR | TOO_FINE).keys())
def test_a_number_that_not_all_can_hold_is_refused_by_name(text: str) -> None:
    """It would be another number for the waiter, or end whoever reads the row."""
    with pytest.raises(Refused) as refused:
        read(with_outcome(text).encode(), Complete)

    assert (refused.value.code, refused.value.facts["field"]) == ("invalid-message", "outcome")


@pytest.mark.parametrize("text", TOO_FAR.values(), ids=TOO_FAR.keys())
def test_the_sql_door_refuses_a_number_beyond_a_double(text: str, shared_door: SqlDoor) -> None:
    """Postgres would keep it, and then the worker that reads the row could not: the wait would never go on."""
    refusal = shared_door.refusal("complete", with_outcome(text))

    assert (refusal["code"], refusal["facts"]["field"]) == ("invalid-message", "outcome")


@pytest.mark.parametrize("text", JUST_INSIDE.values(), ids=JUST_INSIDE.keys())
def test_what_all_can_hold_is_taken_by_both_doors(text: str, shared_door: SqlDoor) -> None:
    """A wide number, and text that only looks like something else, is kept as it was said."""
    message = with_outcome(text)

    read(message.encode(), Complete)
    shared_door.call("complete", message)

    kept = shared_door.row(json.loads(message)["dependency_id"])["outcome"]
    assert kept == json.loads(text)


@pytest.mark.parametrize("text", WITH_NUL.values(), ids=WITH_NUL.keys())
def test_a_nul_in_an_outcome_is_refused_by_name(text: str, shared_door: SqlDoor) -> None:
    r"""JSON may spell the character \u0000; Postgres cannot hold it, and its sender is told so."""
    message = with_outcome(text)

    with pytest.raises(Refused) as refused:
        read(message.encode(), Complete)
    assert refused.value.facts["field"] == "outcome"
    assert shared_door.sqlstate("complete", message) == "22P05"


def test_a_nul_in_a_reasons_detail_is_refused_by_name(shared_door: SqlDoor) -> None:
    """The same for a cancel's only free text."""
    message = json.dumps(cancel(reason={"type": "RUN_CANCELLED", "detail": "a\0b"}))

    with pytest.raises(Refused) as refused:
        read(message.encode(), Cancel)
    assert refused.value.facts["field"] == "reason.detail"
    assert shared_door.sqlstate("cancel", message) == "22P05"


def test_an_unknown_field_is_named_without_its_control_characters() -> None:
    """The name is the sender's; it must reach neither a terminal nor Postgres as it is."""
    with pytest.raises(Refused) as refused:
        read(json.dumps(completion() | {"a\0\x1b[2J": 1}).encode(), Complete)

    assert (refused.value.code, refused.value.facts["field"]) == ("unknown-field", "a\ufffd\ufffd[2J")


@pytest.mark.parametrize("offset", ["+0100", "+01:00", "-00:00", "+15:59", "Z", "z"])
def test_a_time_means_the_same_at_both_doors(offset: str, shared_door: SqlDoor) -> None:
    """However its zone is written, the wait ends at the moment that was meant, not at once."""
    ahead = (datetime.now(UTC) + timedelta(days=300)).strftime("%Y-%m-%dT%H:%M:%S") + offset
    message = timed(ahead)
    meant = read(json.dumps(message).encode(), Defer).dependency.resume_at

    shared_door.defer(message)

    assert shared_door.row(message["dependency"]["id"])["resume_at"] == meant


@pytest.mark.parametrize("place", ["v", "dependency_id", "outcome", "unknown"])
def test_garbage_at_the_edge_of_what_can_be_decoded_is_refused(place: str) -> None:
    """Nested so deep that it can just be read, and then hardly be shown: a refusal, not an error of ours."""
    sound = {"v": 1, "dependency_id": "a", "outcome_type": "success"}
    for levels in range(900, 1_010):
        body = json.dumps(sound | {place: "HERE"}).replace('"HERE"', "[" * levels + "]" * levels)
        with pytest.raises(Refused):
            read(body.encode(), Complete)

"""Whom a message names that nobody can read: its sender is told all the same."""

import json
from typing import Any

import pytest

from shared.letters import Return, open_letter
from shared.messages import Complete
from shared.named import Named, find_names
from shared.queues import RESUMES, TaskName

ALL = Named("run-1", "child-1", "continuations.replies", "continuations.receipts")
FIELDS = (
    '"run_id": "run-1", "dependency": {"resume_at": null, "id": "child-1"}, '
    '"reply_to": "continuations.replies", "receipt_to": "continuations.receipts"'
)
UNREADABLE: dict[str, str] = {
    "a number out of range": '[[], {"outcome": 1e400, FIELDS}, {}]',
    "a number of 5,000 digits": '[[], {"outcome": ' + "9" * 5_000 + ", FIELDS}, {}]",
    "nested deep": '[[], {"outcome": ' + "[" * 20_000 + "]" * 20_000 + ", FIELDS}, {}]",
    "objects nested deep": '[[], {"outcome": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + ", FIELDS}, {}]",
    "half a surrogate": '[[], {"outcome": "\\ud800", FIELDS}, {}]',
    "a key of half a surrogate": '[[], {"\\ud800": 1, FIELDS}, {}]',
    "positional arguments": '[["run-7", {"run_id": "run-8"}, [[]]], {FIELDS}, {}]',
    "no embed": "[[], {FIELDS}]",
    "the same names elsewhere": '[[], {"outcome": {"run_id": "run-7", "a": [{"run_id": "run-8"}]}, FIELDS}, '
    '{"run_id": "run-9"}]',
    "brackets in texts": '[["]}"], {"outcome": "\\"}]{[", "}": "{\\\\", FIELDS}, {}]',
    "cut off": '[[], {FIELDS, "outcome": "abc',
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_every_name_is_found(text: str) -> None:
    """Where a decoder gives up, the names are read one by one, and only in their own places."""
    assert find_names(text.replace("FIELDS", FIELDS).encode()) == ALL


NAMES: list[tuple[dict[str, Any], Named]] = [
    ({}, Named()),
    ({"run_id": 7, "dependency": "child-1", "reply_to": ["continuations"]}, Named()),
    ({"run_id": "", "dependency_id": "child-1"}, Named(dependency_id="child-1")),
    ({"run_id": "a\nb", "receipt_to": "continuations"}, Named(receipt_to="continuations")),
    ({"run_id": "r" * 201, "reply_to": "deferrals"}, Named()),
    ({"run_id": "é\U0001f600", "dependency": {"id": {"id": "no"}}}, Named(run_id="é\U0001f600")),
    ({"continuation_id": "child-1"}, Named(dependency_id="child-1")),
]


@pytest.mark.parametrize(("fields", "named"), NAMES, ids=[str(number) for number in range(len(NAMES))])
def test_a_name_counts_if_it_is_itself_valid(fields: dict[str, Any], named: Named) -> None:
    """Whatever the others are."""
    assert find_names(json.dumps([[], fields, {}]).encode()) == named


@pytest.mark.parametrize("text", ["", "]]}}", '"run-1"', "{}", "[,,", '{"run_id": "run-1"}', "[" * 300_000])
def test_what_is_no_body_names_nobody(text: str) -> None:
    """However it is formed."""
    assert find_names(text.encode()) == Named()


def test_a_message_far_above_the_limit_is_answered_too() -> None:
    """It is not even split, but its sender has to learn of it."""
    body = json.dumps([[], {"v": 1, "dependency_id": "child-1", "outcome": "x" * 5_000_000}, {}])
    raw = json.dumps({"body": body, "headers": {"task": "dependency.complete", "id": "id-1"}}).encode()

    returned = open_letter(raw, queue=RESUMES, types={TaskName.COMPLETE: Complete})

    assert isinstance(returned, Return)
    assert (returned.rejection.code, returned.rejection.dependency_id) == ("too-large", "child-1")

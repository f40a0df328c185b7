"""Letters: envelopes as any language writes them are read; each way of being unreadable is returned by name."""

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

import pytest

from shared.letters import Letter, Return, open_letter
from shared.messages import Complete, Done
from shared.post import envelope
from shared.queues import RESUMES, TaskName

TYPES = {TaskName.COMPLETE: Complete, TaskName.DONE: Done}
COMPLETION: dict[str, Any] = {"v": 1, "dependency_id": "child-1", "outcome": {"a": 1}, "outcome_type": "success"}


def opened(raw: bytes) -> Letter | Return:
    """Open a letter as the resume worker does."""
    return open_letter(raw, queue=RESUMES, types=TYPES)


def a_body(kwargs: object, args: object = None, embed: object = None) -> str:
    """Return the three parts of a body."""
    return json.dumps([args if args is not None else [], kwargs, embed if embed is not None else {}])


def an_envelope(body: str, **fields: Any) -> bytes:
    """Return the least that Celery's protocol 2 asks for, with a plain body."""
    message: dict[str, Any] = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "go", "task": "dependency.complete", "id": "id-1"},
        "properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": RESUMES}},
    }
    return json.dumps(message | fields).encode()


def in_base64(kwargs: object) -> bytes:
    """Return an envelope as most clients write it."""
    body = b64encode(a_body(kwargs).encode()).decode()
    return an_envelope(body, properties={"body_encoding": "base64", "delivery_tag": "t"})


SOUND: dict[str, bytes] = {
    "our own": envelope("dependency.complete", COMPLETION, task_id="id-1", queue=RESUMES),
    "a plain body": an_envelope(a_body(COMPLETION)),
    "a body in base64": in_base64(COMPLETION),
    "no properties": json.dumps(
        {"body": a_body(COMPLETION), "headers": {"task": "dependency.complete", "id": "id-1"}}
    ).encode(),
    "more headers": an_envelope(
        a_body(COMPLETION),
        headers={"task": "dependency.complete", "id": "id-1", "retries": 0, "timelimit": [None, None], "mine": "x"},
    ),
    "all of embed": an_envelope(
        a_body(COMPLETION, embed={"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    ),
    "white space": in_base64(COMPLETION).replace(b'{"body"', b'\n {"body"') + b"\n",
}


@pytest.mark.parametrize("raw", SOUND.values(), ids=SOUND.keys())
def test_an_envelope_of_any_language_is_read(raw: bytes) -> None:
    """Its task, its id, its meaning, and the very JSON that goes to Postgres."""
    letter = opened(raw)

    assert isinstance(letter, Letter)
    assert (letter.task, letter.id, letter.raw) == (TaskName.COMPLETE, "id-1", raw)
    assert isinstance(letter.message, Complete)
    assert letter.message.outcome == {"a": 1}
    assert json.loads(letter.body) == COMPLETION


def test_a_body_goes_on_as_the_bytes_that_came() -> None:
    """Nothing is decoded only to be encoded again: a large number keeps its digits."""
    body = '[[], {"v": 1, "dependency_id": "d", "outcome": 12345678901234567890123, "outcome_type": "success"}, {}]'

    letter = opened(an_envelope(body))

    assert isinstance(letter, Letter)
    assert b"12345678901234567890123" in letter.body


NO_ENVELOPE: dict[str, bytes] = {
    "no bytes": b"",
    "no JSON": b"not JSON",
    "a list": b"[1]",
    "a number": b"7",
    "no UTF-8": b'{"body": "\xff"}',
    "nested deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no headers": json.dumps({"body": a_body(COMPLETION)}).encode(),
    "no id": an_envelope(a_body(COMPLETION), headers={"task": "dependency.complete"}),
    "an id that is a number": an_envelope(a_body(COMPLETION), headers={"task": "dependency.complete", "id": 7}),
    "no task": an_envelope(a_body(COMPLETION), headers={"id": "id-1"}),
    "no body": json.dumps({"headers": {"task": "dependency.complete", "id": "id-1"}}).encode(),
    "a body that is no text": an_envelope(""[:0]).replace(b'"body": ""', b'"body": {}'),
}


@pytest.mark.parametrize("raw", NO_ENVELOPE.values(), ids=NO_ENVELOPE.keys())
def test_what_is_no_envelope_is_returned_to_nobody(raw: bytes) -> None:
    """It is kept with its queue and why; there is nobody to be told."""
    returned = opened(raw)

    assert isinstance(returned, Return)
    assert returned.to == []
    assert (returned.rejection.queue, returned.rejection.code) == (RESUMES, "invalid-message")
    assert returned.rejection.problem.startswith("no message of Celery's protocol 2: ")
    assert returned.rejection.raw == raw[:65_536]


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "no base64": (an_envelope("!", properties={"body_encoding": "base64"}), "body"),
    "no JSON": (an_envelope("not JSON"), "body"),
    "one value": (an_envelope("{}"), "body"),
    "two values": (an_envelope("[[], {}]"), "body"),
    "four values": (an_envelope("[[], {}, {}, {}]"), "body"),
    "arguments that are no list": (an_envelope('["a", {}, {}]'), "body"),
    "positional arguments": (an_envelope(a_body(COMPLETION, args=[1])), "args"),
    "keywords that are a list": (an_envelope(a_body([])), ""),
    "another task": (an_envelope(a_body({}), headers={"task": "run.me", "id": "id-1"}), "task"),
    "a task of another queue": (an_envelope(a_body({}), headers={"task": "checkpoint.defer", "id": "id-1"}), "task"),
}


@pytest.mark.parametrize(("raw", "field"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_an_unreadable_body_is_returned_with_its_field(raw: bytes, field: str) -> None:
    """The envelope was sound, so the rejection has its task and id."""
    returned = opened(raw)

    assert isinstance(returned, Return)
    assert returned.rejection.message_id == "id-1"
    assert (returned.rejection.code, returned.rejection.facts["field"]) == ("invalid-message", field)


def test_an_envelope_beyond_all_bounds_is_too_large() -> None:
    """More than 2 MiB is not even opened; more than 1 MiB of JSON is refused by name."""
    codes: list[str] = []
    for size in (1_100_000, 2_100_000):
        returned = opened(in_base64(COMPLETION | {"outcome": "x" * size}))
        assert isinstance(returned, Return)
        assert len(returned.rejection.raw) == 65_536
        codes.append(returned.rejection.code)

    assert codes == ["too-large", "too-large"]


@pytest.mark.parametrize(
    ("named", "to"),
    [
        ({"receipt_to": "continuations.a"}, ["continuations.a"]),
        ({"reply_to": "continuations.b"}, ["continuations.b"]),
        ({"receipt_to": "continuations.a", "reply_to": "continuations.b"}, ["continuations.a", "continuations.b"]),
        ({"receipt_to": "continuations.a", "reply_to": "continuations.a"}, ["continuations.a"]),
        ({"receipt_to": "resumes", "reply_to": "continuations.b"}, ["continuations.b"]),
        ({"receipt_to": 7, "reply_to": ["continuations"]}, []),
    ],
)
def test_a_refusal_goes_to_each_valid_queue_that_was_named(named: dict[str, object], to: list[str]) -> None:
    """Each is taken from the refused message if it is itself valid, even if others are not."""
    returned = opened(in_base64(COMPLETION | {"outcome_type": "?"} | named))

    assert isinstance(returned, Return)
    assert returned.to == to


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ({"run_id": "r", "dependency_id": "d"}, ("r", "d")),
        ({"run_id": "r", "dependency_id": ""}, ("r", None)),
        ({"run_id": "a\nb", "dependency_id": "d"}, (None, "d")),
        ({"run_id": 7, "dependency": {"id": "d"}}, (None, "d")),
        ({"run_id": ["r"], "dependency": []}, (None, None)),
    ],
)
def test_a_refusal_names_the_run_and_the_dependency_where_they_are_valid(
    named: dict[str, object], found: tuple[str | None, str | None]
) -> None:
    """So that the sender knows which of its waits is meant."""
    returned = opened(in_base64({"v": 1} | named))

    assert isinstance(returned, Return)
    assert (returned.rejection.run_id, returned.rejection.dependency_id) == found


def test_names_of_any_length_are_cut_where_they_are_kept() -> None:
    """A task's name of a megabyte does not fill the table of rejections."""
    name = uuid4().hex * 10_000
    returned = opened(an_envelope(a_body({}), headers={"task": name, "id": name}))

    assert isinstance(returned, Return)
    assert (returned.rejection.message, returned.rejection.message_id) == (name[:200], name[:200])
    assert len(returned.rejection.problem) < 300

"""What may reach a worker, and what is kept of the rest."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from bad_messages import BAD_MESSAGES, good, spoiled, with_body

from shared.guard import (
    KEPT_BYTES_MAX,
    REASON_CHARACTERS_MAX,
    BadMessage,
    admit_task,
    read_message,
    read_set_aside,
    set_aside,
)


def test_a_sound_message_is_admitted_as_it_is() -> None:
    """A worker gets every field that was sent; id and eta are known."""
    message = good(word="a")
    message["more"] = 1
    message["headers"]["eta"] = "2030-01-01T00:00:00Z"

    admitted = admit_task(json.dumps(message).encode(), "work")

    assert admitted.task_id == "bad"
    assert admitted.eta == datetime(2030, 1, 1, tzinfo=UTC)
    del admitted.payload["properties"], message["properties"]
    assert admitted.payload == message


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_is_refused_with_a_reason(name: str) -> None:
    """What could harm a worker is refused, and the reason says what is wrong."""
    with pytest.raises(BadMessage) as refused:
        admit_task(BAD_MESSAGES[name], "work")

    assert str(refused.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("headers.eta", None),
        ("headers.eta", "2030-01-01T00:00:00"),
        ("headers.expires", "2030-01-01T00:00:00+00:00"),
        ("headers.timelimit", [None, 5]),
        ("headers.stamped_headers", None),
        ("properties.delivery_info", {"exchange": "", "routing_key": "work", "priority": 0}),
        ("content-encoding", "UTF-8"),
    ],
)
def test_what_other_clients_write_is_admitted(path: str, value: object) -> None:
    """A field that Celery's own clients, in any language, fill in is no reason to refuse."""
    admit_task(spoiled(path, value), "work")


def test_a_plain_body_is_admitted() -> None:
    """A body that is JSON text, without an encoding, is as good as base64."""
    message = good()
    message["body"] = "[[], {}, {}]"
    del message["properties"]["body_encoding"]

    assert admit_task(json.dumps(message).encode(), "work").payload["body"] == "[[], {}, {}]"


@pytest.mark.parametrize(
    "body",
    [
        b'[[], {"self": 1}, {}]',
        b'[[], {"a": [{"__type__": "datetime", "__value__": "soon"}]}, {}]',
        b'[[], {}, {"chain": [{"task": "work"}]}]',
        b'[[], {}, {"callbacks": ["x"]}]',
        b'[[], {"a": %s}, {}]' % (b"[" * 16 + b"]" * 16),
        b"[%s, {}, {}]" % (b"[" * 17 + b"]" * 17),
        b'[[], {"a": %s}, {}]' % (b"9" * 5_000),
        b'[[], {"a": 1e400}, {}]',
        b'[[], {"a": "\\ud800"}, {}]',
    ],
)
def test_a_body_that_celery_would_stumble_over_is_refused(body: bytes) -> None:
    """Celery or kombu would drop it, without a word of what it was, or call whom it names."""
    with pytest.raises(BadMessage):
        admit_task(with_body(body), "work")


@pytest.mark.parametrize(
    "embed", [b"{}", b"null", b'{"callbacks": null, "errbacks": null, "chain": null, "chord": null}']
)
def test_a_body_as_clients_of_any_language_write_it_is_admitted(embed: bytes) -> None:
    """Nested as deep as a message of ours may be, and nothing embedded, in any of the ways to say so."""
    admit_task(with_body(b'[[], {"a": %s}, %s]' % (b"[" * 15 + b"]" * 15, embed)), "work")


@pytest.mark.parametrize("eta", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_is_none_in_utc_is_refused(eta: str) -> None:
    """Celery drops a message with an eta that it cannot count from."""
    with pytest.raises(BadMessage):
        admit_task(spoiled("headers.eta", eta), "work")


@pytest.mark.parametrize("moment", ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00", "2099-01-01T00:00:00+02:00"])
def test_a_message_never_expires(moment: str) -> None:
    """Celery would drop it without a word, and with it every later message of that id."""
    assert "expires" not in admit_task(spoiled("headers.expires", moment), "work").payload["headers"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "2020-01-01T00:00:00"])
def test_a_moment_that_has_come_is_none(moment: str) -> None:
    """Where the machine's own zone has no such moment, Celery would drop the message without a word."""
    admitted = admit_task(spoiled("headers.eta", moment), "work")

    assert (admitted.eta, admitted.payload["headers"]["eta"]) == (None, None)


def test_a_tag_that_is_used_twice_is_made_unique() -> None:
    """Two messages with one delivery tag would acknowledge each other."""
    item = json.dumps(good()).encode()

    tags = {admit_task(item, "work").payload["properties"]["delivery_tag"] for _ in range(2)}

    assert len(tags) == 2


def test_a_message_goes_back_to_the_queue_it_was_on() -> None:
    """A message that names another queue must not be given back to that one."""
    item = spoiled("properties.delivery_info", {"exchange": "elsewhere", "routing_key": "other"})

    properties: dict[str, Any] = admit_task(item, "work").payload["properties"]

    assert properties["delivery_info"] == {"exchange": "", "routing_key": "work"}


def test_an_answer_to_a_control_command_needs_no_task() -> None:
    """What `celery inspect` reads has no headers of a task."""
    message = good()
    message["headers"] = {}

    assert read_message(json.dumps(message).encode())["headers"] == {}


def test_what_is_kept_of_a_bad_message_is_bounded() -> None:
    """The record names queue, reason and whole size, and keeps the beginning."""
    record = read_set_aside(set_aside(b"x" * 100_000, "work", "r" * 5_000))

    assert (record.queue, record.size) == ("work", 100_000)
    assert record.message == b"x" * KEPT_BYTES_MAX
    assert len(record.reason) == REASON_CHARACTERS_MAX


def test_the_largest_record_can_be_read() -> None:
    """Whatever a worker sets aside comes back: the most bytes, and a reason whose every character is escaped."""
    record = set_aside(b"\xff" * 100_000, "q" * 255, "\0" * 5_000)

    assert read_set_aside(record).reason == "\0" * REASON_CHARACTERS_MAX

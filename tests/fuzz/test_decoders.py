"""Whatever comes, a decoder accepts it or refuses it by name: never another error, never a hang."""

import msgspec
from bad_messages import good
from fuzzed import ITEMS, JSON, MOMENTS, fields_gone_wrong, fuzz
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import loads

from shared.errors import Refused
from shared.guard import BadMessage, admit_task
from shared.letters import Letter, open_letter
from shared.messages import Cancel, Complete, Defer, Done, Message, Ready, Restore, Resume, Take
from shared.queues import RESUMES, TaskName
from shared.reading import read
from shared.replies import read_reply

TYPES: dict[TaskName, type[Message]] = {
    TaskName.DEFER: Defer,
    TaskName.CANCEL: Cancel,
    TaskName.READY: Ready,
    TaskName.COMPLETE: Complete,
    TaskName.DONE: Done,
    TaskName.RESUME: Resume,
}
ALL: list[type[Message]] = [*TYPES.values(), Take, Restore]
CODES = {
    "invalid-message",
    "unsupported-version",
    "unknown-field",
    "too-large",
    "waits-for-itself",
}


@fuzz(200)
@given(ITEMS)
def test_an_item_of_a_drain_is_read_or_refused_by_name(item: bytes) -> None:
    """And what is kept of a refused one can be told to its sender, and shown."""
    opened = open_letter(item, queue=RESUMES, types=TYPES)

    if not isinstance(opened, Letter):
        assert opened.rejection.code in CODES
        assert opened.rejection.problem
        msgspec.json.encode(opened.rejection)


@fuzz(200)
@given(st.one_of(JSON, fields_gone_wrong().map(lambda it: it[1])), st.sampled_from(ALL))
def test_fields_are_read_or_refused_by_name(text: str, type_: type[Message]) -> None:
    """By the type of any message."""
    body = text.encode(errors="replace")
    code = ""
    try:
        read(body, type_)
    except Refused as refused:
        code = refused.code
    assert code in {"", *CODES}


@fuzz(150)
@given(ITEMS)
def test_an_item_of_a_celery_queue_is_admitted_or_refused(item: bytes) -> None:
    """And what is admitted goes back where it came from."""
    try:
        admitted = admit_task(item, "work")
    except BadMessage:
        return
    assert admitted.task_id
    assert admitted.payload["properties"]["delivery_info"]["routing_key"] == "work"


@fuzz(150)
@given(st.one_of(JSON, fields_gone_wrong().map(lambda it: it[1])))
def test_what_is_admitted_kombu_can_decode(text: str) -> None:
    """The guard reads as much as kombu does, so that nothing is left for it to stumble over."""
    body = f"[[], {text}, {{}}]"
    item = msgspec.json.encode(good() | {"body": body, "properties": good()["properties"] | {"body_encoding": None}})
    try:
        admit_task(item, "work")
    except BadMessage:
        return
    _, kwargs, _ = loads(body)
    assert isinstance(kwargs, dict)


@fuzz(150)
@given(MOMENTS)
def test_any_moment_is_an_eta_or_refused(text: str) -> None:
    """What the guard admits can be counted from."""
    message = good()
    message["headers"]["eta"] = msgspec.json.decode(text)
    try:
        eta = admit_task(msgspec.json.encode(message), "work").eta
    except BadMessage:
        return
    assert eta is None or eta.timestamp() < 300_000_000_000


@fuzz(150)
@given(ITEMS)
def test_a_reply_is_read_or_left_out(item: bytes) -> None:
    """An upstream's loop over its replies ends for none of them."""
    read_reply(item)

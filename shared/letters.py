"""Letters: messages as a drain takes them from a list, opened and read, or refused by name.

The bytes are those of Celery's message protocol, version 2, as any language can write them.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from shared.db.rejections import Rejection
from shared.errors import Refused
from shared.messages import BYTES_MAX, Message
from shared.queues import TaskName, is_reply_queue
from shared.reading import is_id, read


class _Headers(msgspec.Struct):
    task: str
    id: str


class _Properties(msgspec.Struct):
    body_encoding: str | None = None


class _Envelope(msgspec.Struct):
    headers: _Headers
    body: str
    properties: _Properties = msgspec.field(default_factory=_Properties)


_open: Final = msgspec.json.Decoder(_Envelope).decode
_split: Final = msgspec.json.Decoder(tuple[list[msgspec.Raw], msgspec.Raw, msgspec.Raw]).decode
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was read: its task, its id, its JSON, its meaning."""

    task: TaskName
    id: str
    body: bytes
    message: Message
    raw: bytes


@dataclass(frozen=True, slots=True)
class Return:
    """A message that was refused, and where its sender hears of it; `to` is None where that is not known yet."""

    rejection: Rejection
    to: list[str]


def open_letter(raw: bytes, *, queue: str, types: Mapping[TaskName, type[Message]]) -> Letter | Return:
    """Open one message of a queue and read it by its task's type, or say why it is refused."""
    try:
        if len(raw) > 2 * BYTES_MAX:
            raise Refused(f"the message is {len(raw)} bytes; expected at most {BYTES_MAX}.", code="too-large")
        envelope = _open(raw)
    except Refused as refused:
        return Return(_rejection(refused, queue=queue, raw=raw), [])
    except _UNREADABLE as error:
        refused = Refused(f"no message of Celery's protocol 2: {error}. Write it as docs/messages.md says.")
        return Return(_rejection(refused, queue=queue, raw=raw), [])
    body = b""
    try:
        body = _body(envelope)
        type_ = types.get(cast("TaskName", envelope.headers.task))
        if type_ is None:
            expected = ", ".join(sorted(types))
            raise Refused(
                f"the task is {envelope.headers.task[:80]!r}; expected one of {expected} on the queue {queue}.",
                field="task",
            )
        return Letter(TaskName(envelope.headers.task), envelope.headers.id, body, read(body, type_), raw)
    except Refused as refused:
        return return_to_sender(
            refused, queue=queue, raw=raw, task=envelope.headers.task, id_=envelope.headers.id, body=body
        )


def return_to_sender(refused: Refused, *, queue: str, raw: bytes, task: str, id_: str, body: bytes) -> Return:
    """Make of a refusal what is kept of it and where it is told: to `receipt_to`, and to `reply_to`."""
    named = _names(body)
    rejection = _rejection(refused, queue=queue, raw=raw, task=task, id_=id_, named=named)
    to = [name for name in (named.get("receipt_to"), named.get("reply_to")) if name is not None]
    return Return(rejection, list(dict.fromkeys(to)))


def _body(envelope: _Envelope) -> bytes:
    text = envelope.body
    try:
        decoded = b64decode(text, validate=True) if envelope.properties.body_encoding == "base64" else text.encode()
        args, kwargs, _ = _split(decoded)
    except _UNREADABLE as error:
        raise Refused(
            f"the body is not [args, kwargs, embed] as JSON: {error}. Write it as docs/messages.md says.", field="body"
        ) from None
    if args:
        raise Refused("args has values; expected keyword arguments only.", field="args")
    return bytes(kwargs)


def _names(body: bytes) -> dict[str, str]:
    """Take from a refused message each name that is itself valid."""
    try:
        whole: Any = msgspec.json.decode(body)
    except _UNREADABLE:
        return {}
    if not isinstance(whole, dict):
        return {}
    fields = cast("dict[str, Any]", whole)
    dependency: Any = fields.get("dependency")
    if isinstance(dependency, dict):
        fields["dependency_id"] = cast("dict[str, Any]", dependency).get("id")
    ids = {name: fields.get(name) for name in ("run_id", "dependency_id") if is_id(fields.get(name))}
    queues = {
        name: fields.get(name)
        for name in ("reply_to", "receipt_to")
        if isinstance(fields.get(name), str) and is_reply_queue(str(fields.get(name)))
    }
    return {name: str(value) for name, value in (ids | queues).items()}


def _rejection(
    refused: Refused,
    *,
    queue: str,
    raw: bytes,
    task: str | None = None,
    id_: str | None = None,
    named: Mapping[str, str] | None = None,
) -> Rejection:
    names = named or {}
    return Rejection(
        queue=queue,
        code=refused.code,
        problem=refused.message,
        facts=refused.facts,
        raw=raw[:65_536],
        message=task[:200] if task else None,
        message_id=id_[:200] if id_ else None,
        run_id=names.get("run_id"),
        dependency_id=names.get("dependency_id"),
    )

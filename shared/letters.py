"""Letters: messages as a drain takes them from a list, opened and read, or refused by name.

The bytes are those of Celery's message protocol, version 2, as any language can write them.
"""

from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from shared.db.rejections import Rejection
from shared.errors import Refused
from shared.messages import BYTES_MAX, Message
from shared.named import Named, find_names
from shared.queues import TaskName
from shared.reading import read


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
    """A message that was refused, and where its sender hears of it; both are None where it named no such queue."""

    rejection: Rejection
    receipt_to: str | None = None
    reply_to: str | None = None

    @property
    def to(self) -> list[str]:
        """The queues that are told, each once."""
        return list(dict.fromkeys(queue for queue in (self.receipt_to, self.reply_to) if queue is not None))


def open_letter(raw: bytes, *, queue: str, types: Mapping[TaskName, type[Message]]) -> Letter | Return:
    """Open one message of a queue and read it by its task's type, or say why it is refused."""
    try:
        envelope = _open(raw)
    except _UNREADABLE as error:
        refused = Refused(f"no message of Celery's protocol 2: {error}. Write it as docs/messages.md says.")
        return Return(_rejection(refused, queue=queue, raw=raw))
    try:
        type_ = types.get(cast("TaskName", envelope.headers.task))
        if type_ is None:
            expected = ", ".join(sorted(types))
            raise Refused(
                f"the task is {envelope.headers.task[:80]!r}; expected one of {expected} on the queue {queue}.",
                field="task",
            )
        body = _fields(envelope)
        return Letter(TaskName(envelope.headers.task), envelope.headers.id, body, read(body, type_), raw)
    except Refused as refused:
        return _returned(refused, envelope, queue=queue, raw=raw)


def return_to_sender(letter: Letter, refused: Refused, *, queue: str) -> Return:
    """Make of the refusal of a letter what is kept of it, and where it is told."""
    return _returned(refused, _open(letter.raw), queue=queue, raw=letter.raw)


def _returned(refused: Refused, envelope: _Envelope, *, queue: str, raw: bytes) -> Return:
    named = Named()
    with suppress(ValueError):  # a body that is no base64 names nobody
        named = find_names(_json(envelope))
    rejection = _rejection(refused, queue=queue, raw=raw, headers=envelope.headers, named=named)
    return Return(rejection, named.receipt_to, named.reply_to)


def _json(envelope: _Envelope) -> bytes:
    """Return the body's JSON, `[args, kwargs, embed]`."""
    if envelope.properties.body_encoding == "base64":
        return b64decode(envelope.body, validate=True)
    return envelope.body.encode()


def _fields(envelope: _Envelope) -> bytes:
    """Return the JSON of the body's keyword arguments."""
    try:
        text = _json(envelope)
        # The body is base64 of at most the message, its embed and some space; more is not even split.
        if len(text) > 2 * BYTES_MAX:
            raise Refused(
                f"the message is {len(text)} bytes; expected at most {BYTES_MAX}. Send a reference instead.",
                code="too-large",
                field="",
            )
        args, kwargs, _ = _split(text)
    except _UNREADABLE as error:
        raise Refused(
            f"the body is not [args, kwargs, embed] as JSON: {error}. Write it as docs/messages.md says.", field="body"
        ) from None
    if args:
        raise Refused("args has values; expected keyword arguments only.", field="args")
    return bytes(kwargs)


def _rejection(
    refused: Refused,
    *,
    queue: str,
    raw: bytes,
    headers: _Headers | None = None,
    named: Named = Named(),  # noqa: B008 - frozen
) -> Rejection:
    return Rejection(
        queue=queue,
        code=refused.code,
        problem=refused.message,
        facts=refused.facts,
        raw=raw[:65_536],
        message=headers.task[:200] if headers else None,
        message_id=headers.id[:200] if headers else None,
        run_id=named.run_id,
        dependency_id=named.dependency_id,
    )

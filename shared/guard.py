"""What may reach a Celery worker: one bad message must not end, stop or block it.

Measured on Celery 5.7: what is no JSON object ends the worker, a message without `headers.id` makes it
reconnect for ever (celery/celery#7975, #4308), a body that is not three values ends it as well.
"""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, cast
from uuid import uuid4

import msgspec
from msgspec import Meta, Struct, field

from shared.messages import DEPTH_MAX

MESSAGE_BYTES_MAX: Final = 1024 * 1024
# How much of a rejected message is kept: 10,000 of them in Redis must not fill it.
KEPT_BYTES_MAX: Final = 64 * 1024
REASON_CHARACTERS_MAX: Final = 1_000
# Of what is kept as JSON: the bytes in base64, the reason with every character escaped, the rest.
RECORD_BYTES_MAX: Final = 128 * 1024

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Text: TypeAlias = str | None


class BadMessage(Exception):
    """A message that no worker may see; the text says why."""


class Admitted(Struct, frozen=True):
    """A message that a worker may have.

    Args:
        payload: The message as kombu wants it.
        task_id: Its id.
        eta: Not to be run before; None: at once.
    """

    payload: dict[str, Any]
    task_id: str
    eta: datetime | None


class SetAside(Struct, frozen=True):
    """What is kept of a rejected message, as JSON in Redis.

    Args:
        queue: Where it was found, without the prefix.
        reason: Why no worker may see it.
        at: When.
        size: Its length in bytes.
        message: Its first 64 KiB, base64 in JSON.
    """

    queue: str
    reason: str
    at: datetime
    size: int
    message: bytes


class _Headers(Struct):
    # All that Celery's strategy and request read: most of them, with another type, end the worker.
    task: Name
    id: Name
    eta: Text = None
    expires: Text = None
    retries: Annotated[int, Meta(ge=0)] | None = None
    timelimit: tuple[float | None, float | None] | None = None
    root_id: Text = None
    parent_id: Text = None
    group: Text = None
    shadow: Text = None
    argsrepr: Text = None
    kwargsrepr: Text = None
    ignore_result: bool | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None
    # A small message that unpacks to a large one.
    compression: None = None


class _DeliveryInfo(Struct):
    exchange: str
    routing_key: str


class _Properties(Struct):
    delivery_tag: Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64", "utf-8"] | None = None
    correlation_id: Text = None
    reply_to: Text = None


class _Message(Struct):
    properties: _Properties


class _TaskMessage(_Message):
    headers: _Headers
    body: str
    content_type: Literal["application/json"] = field(name="content-type")
    content_encoding: Text = field(name="content-encoding", default=None)


# Of what is embedded only nothing: a chain or a callback would send any task to any queue.
_Body: TypeAlias = tuple[list[Any], dict[str, Any], dict[str, None] | None]
_decode_body: Final = msgspec.json.Decoder(_Body).decode
# RecursionError: nested too deep. ValueError: bad base64. OverflowError: a moment outside the years 1 to 9999.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def admit_task(item: bytes, queue: str) -> Admitted:
    """Check a message for a task, whole: afterwards Celery finds nothing in it that could harm a worker.

    Raises:
        BadMessage: It may not reach a worker.
    """
    payload = _read(item)
    try:
        message = msgspec.convert(payload, _TaskMessage)
        encoded = message.body
        is_plain = message.properties.body_encoding != "base64"
        args, kwargs, _ = _decode_body(encoded.encode() if is_plain else b64decode(encoded, validate=True))
        _check_plain(args, DEPTH_MAX)
        _check_plain(kwargs, DEPTH_MAX)
        if "self" in kwargs:
            raise BadMessage("a field is named self, with which Celery cannot call a task")
        eta = _read_moment(message.headers.eta)
        _read_moment(message.headers.expires)
        if eta is not None and eta <= datetime.now(UTC):
            # Celery drops one that is none in the machine's own zone, as the year 1 west of Greenwich.
            eta = payload["headers"]["eta"] = None
    except _UNREADABLE as error:
        raise BadMessage(str(error)) from error
    # Two messages with one tag would acknowledge each other; a wrong routing key would send the message
    # elsewhere when it is given back. Both are only for our side of the queue, so they are set here.
    payload["properties"]["delivery_tag"] = str(uuid4())
    payload["properties"]["delivery_info"] |= {"exchange": "", "routing_key": queue}
    # Late is no harm: Postgres says what is still wanted. Celery would drop what has expired without a word, and for
    # three hours every later message with that id, which for a checkpoint is always the same.
    payload["headers"].pop("expires", None)
    return Admitted(payload, message.headers.id, eta)


def read_message(item: bytes) -> dict[str, Any]:
    """Read a message that names no task, such as a worker's answer to a control command.

    Raises:
        BadMessage: kombu could not read it.
    """
    payload = _read(item)
    check_delivery(payload)
    return payload


def check_delivery(payload: object) -> None:
    """Check what kombu reads of every message, also of a broadcast.

    Raises:
        BadMessage: kombu could not read it.
    """
    try:
        msgspec.convert(payload, _Message)
    except _UNREADABLE as error:
        raise BadMessage(str(error)) from error


def set_aside(item: bytes, queue: str, reason: str) -> bytes:
    """Return what is kept of a rejected message."""
    kept = SetAside(queue, reason[:REASON_CHARACTERS_MAX], datetime.now(UTC), len(item), item[:KEPT_BYTES_MAX])
    return msgspec.json.encode(kept)


def read_set_aside(record: bytes) -> SetAside:
    """Read what was kept of a rejected message.

    Raises:
        BadMessage: It is no such record: somebody else wrote it.
    """
    if len(record) > RECORD_BYTES_MAX:
        raise BadMessage(f"{len(record)} bytes; expected at most {RECORD_BYTES_MAX}")
    try:
        return msgspec.json.decode(record, type=SetAside)
    except _UNREADABLE as error:
        raise BadMessage(str(error)) from error


def _read(item: bytes) -> dict[str, Any]:
    if len(item) > MESSAGE_BYTES_MAX:
        raise BadMessage(f"{len(item)} bytes; expected at most {MESSAGE_BYTES_MAX}")
    try:
        return msgspec.json.decode(item, type=dict[str, Any])
    except _UNREADABLE as error:
        raise BadMessage(str(error)) from error


def _check_plain(value: object, levels: int) -> None:
    """Refuse what kombu's decoder would make an object of, or could end a worker with: it goes down by calls."""
    if not isinstance(value, dict | list):
        return
    if levels == 0:
        raise BadMessage(f"JSON nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict) and "__type__" in value:
        raise BadMessage("a field is named __type__, which kombu reads as an object of Python")
    inside = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
    for one in inside:
        _check_plain(one, levels - 1)


def _read_moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    # Celery takes one without a zone for UTC.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

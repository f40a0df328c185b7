"""What may reach a Celery worker: one bad message must not end, stop or block it.

Measured on Celery 5.7: what is no JSON object ends the worker, a message without `headers.id` makes it
reconnect for ever (celery/celery#7975, #4308), a body that is not three values ends it as well.
"""

from base64 import b64decode
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct, field

MESSAGE_BYTES_MAX: Final = 1024 * 1024
# What a control client reads: answers of workers, which name no task.
REPLY_QUEUE: Final = ".reply.celery.pidbox"

Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
Text: TypeAlias = str | None


class Rejected(Exception):  # noqa: N818 - house style names errors by what happened
    """A message that no worker may see; the text says why."""


class _Headers(Struct):
    """What Celery's strategy and request read; each of them with a wrong type ends the worker."""

    task: Name
    id: Name
    eta: Text = None
    expires: str | float | None = None
    retries: Annotated[int, Meta(ge=0)] | None = None
    timelimit: tuple[float | None, float | None] | None = None
    root_id: Text = None
    parent_id: Text = None
    group: Text = None
    shadow: Text = None
    argsrepr: Text = None
    kwargsrepr: Text = None
    ignore_result: bool | None = None
    compression: None = None
    stamped_headers: None = None


class _DeliveryInfo(Struct):
    exchange: str
    routing_key: str


class _Properties(Struct):
    delivery_tag: Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64", "utf-8"] | None = None
    correlation_id: Text = None
    reply_to: Text = None


class _Envelope(Struct, rename="kebab"):
    properties: _Properties
    content_type: Literal["application/json"] = field(name="content-type")
    content_encoding: Literal["utf-8", "UTF-8", "us-ascii", "ascii"] | None = field(name="content-encoding", default=None)


class _Task(_Envelope):
    headers: _Headers
    body: str


_Body: TypeAlias = tuple[list[Raw], dict[str, Raw], dict[str, Raw] | None]
_decode_body = msgspec.json.Decoder(_Body).decode


class Admitted(Struct):
    """A message that a worker may have.

    Args:
        payload: The message as kombu wants it.
        task_id: Its id.
        eta: Not to be run before, in UTC; None: at once.
    """

    payload: dict[str, Any]
    task_id: str
    eta: datetime | None

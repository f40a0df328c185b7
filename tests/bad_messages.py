"""Messages that no worker may see. Many of them end, stop or block a stock worker."""

import json
from base64 import b64encode
from typing import Any

from shared.post import envelope


def good(**kwargs: object) -> dict[str, Any]:
    """Return a sound message for the task `note`, to be spoiled."""
    return json.loads(envelope("note", kwargs or {"word": "bad"}, task_id="bad", queue="work"))


def spoiled(path: str, value: object = ...) -> bytes:
    """Return a message with another value at a path, or, without one, with nothing there."""
    message = good()
    *parents, last = path.split(".")
    place = message
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(message).encode()


def with_body(body: bytes) -> bytes:
    """Return a message with another body."""
    return spoiled("body", b64encode(body).decode())


BAD_MESSAGES: dict[str, bytes] = {
    # The six of the research.
    "no id": spoiled("headers.id"),
    "not JSON": b"not JSON",
    "a list": b"[1, 2, 3]",
    "no tag": spoiled("properties.delivery_tag"),
    "no delivery info": spoiled("properties.delivery_info"),
    "empty": b"{}",
    # The outside.
    "no bytes": b"",
    "no UTF-8": b'{"\xff": 1}',
    "a number": b"1",
    "nested deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "too large": json.dumps(good(word="x" * 1024 * 1024)).encode(),
    "no headers": spoiled("headers"),
    "no properties": spoiled("properties"),
    "headers null": spoiled("headers", None),
    "headers a list": spoiled("headers", []),
    # What Celery reads of the headers.
    "id a number": spoiled("headers.id", 1),
    "id a list": spoiled("headers.id", ["a"]),
    "id empty": spoiled("headers.id", ""),
    "no task": spoiled("headers.task"),
    "task a list": spoiled("headers.task", ["note"]),
    "eta no time": spoiled("headers.eta", "soon"),
    "eta a number": spoiled("headers.eta", 5),
    "expires a list": spoiled("headers.expires", [1]),
    "retries text": spoiled("headers.retries", "many"),
    "time limit text": spoiled("headers.timelimit", "long"),
    "compressed": spoiled("headers.compression", "application/x-gzip"),
    # What kombu reads of the properties.
    "tag a list": spoiled("properties.delivery_tag", ["t"]),
    "delivery info empty": spoiled("properties.delivery_info", {}),
    "delivery info text": spoiled("properties.delivery_info", "work"),
    "unknown encoding": spoiled("properties.body_encoding", "rot13"),
    "encoding a number": spoiled("properties.body_encoding", 7),
    # The body.
    "no body": spoiled("body"),
    "body null": spoiled("body", None),
    "body an object": spoiled("body", {}),
    "body no base64": spoiled("body", "!!!"),
    "body no JSON": with_body(b"not JSON"),
    "body two values": with_body(b"[[], {}]"),
    "body an object in base64": with_body(b'{"task": "note"}'),
    "arguments a number": with_body(b"[1, {}, {}]"),
    "keywords a list": with_body(b"[[], [], {}]"),
    "keywords null": with_body(b"[[], null, {}]"),
    "pickle": spoiled("content-type", "application/x-python-serialize"),
    "yaml": spoiled("content-type", "application/x-yaml"),
    "no content type": spoiled("content-type"),
}

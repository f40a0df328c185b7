"""Messages that could harm whoever takes them: beside those of `bad_messages`, made of sound ones of ours."""

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

from bad_messages import BAD_MESSAGES

from shared.post import envelope

# What stands in place of a message's fields: each breaks a rule, or a decoder on its way.
FIELDS: dict[str, str] = {
    "no fields": "{}",
    "no object": "[]",
    "a name of Python's own": '{"v": 1, "self": 1}',
    "names of Python's own": '{"v": 1, "cls": 1, "args": [], "kwargs": {}, "__class__": "x"}',
    "an unknown field": '{"v": 1, "handsake": true}',
    "another version": '{"v": 2}',
    "an empty name": '{"": 1}',
    "a NUL in a name": '{"v": 1, "a\\u0000": 1}',
    "a NUL in an id": '{"v": 1, "run_id": "a\\u0000", "dependency_id": "a\\u0000", "continuation_id": "\\u0000"}',
    "half a character": '{"v": 1, "run_id": "\\ud800", "dependency_id": "\\udfff"}',
    "no UTF-8": '{"v": 1, "run_id": "\udcff"}',
    "an integer of 30 digits": f'{{"v": 1, "wait_number": {10**29}}}',
    "an integer of 5,000 digits": f'{{"v": 1, "wait_number": {"9" * 5_000}}}',
    "a float beyond all": '{"v": 1, "wait_number": 1e400}',
    "no number": '{"v": 1, "wait_number": NaN}',
    "a date that kombu reads": '{"v": 1, "run_id": {"__type__": "datetime", "__value__": "2026-01-01T00:00:00"}}',
    "a date that kombu cannot read": '{"v": 1, "run_id": {"__type__": "datetime", "__value__": "soon"}}',
    "bytes that kombu reads": '{"v": 1, "run_id": {"__type__": "base64", "__value__": "AA=="}}',
    **{f"{depth} levels deep": f'{{"v": 1, "run_id": {"[" * depth}{"]" * depth}}}' for depth in (17, 900, 960, 2_000)},
    "900 KB of nothing": f'{{"v": 1, "run_id": "{"x" * 600_000}"}}',
}
# What stands behind the fields, where Celery looks for what to do next.
EMBEDDED = {
    "callbacks": {"callbacks": ["x", 1, None]},
    "errbacks": {"errbacks": [{"task": 1}]},
    "a chain": {"chain": [{"task": "x", "args": 1}], "chord": {"task": 7}},
}
HEADERS: dict[str, dict[str, Any]] = {
    "before the year 1": {"eta": "0001-01-01T00:00:00+14:00"},
    "due in the year 1": {"eta": "0001-01-01T00:00:00Z"},
    "expires never": {"expires": "soon"},
    "beyond the year 9999": {"eta": "9999-12-31T23:59:59-14:00"},
    "tried before, often": {"retries": 10**18},
    "a time limit without end": {"timelimit": [1e308, 1e308]},
    "a group of odd letters": {"group": "\0\u2028", "root_id": "", "parent_id": "x" * 100_000},
    "a language of its own": {"lang": ["c", {"d": 1}], "origin": 7, "argsrepr": "(" * 1_000},
}


def poison(task: str, queue: str) -> dict[str, bytes]:
    """Return messages of a task, none of which may be taken for what it is not."""
    nothing = b'{"v": 1}'

    def item(fields: bytes, **headers: Any) -> dict[str, Any]:
        sent: dict[str, Any] = json.loads(envelope(task, fields, task_id=str(uuid4()), queue=queue))
        sent["headers"] |= headers
        return sent

    def body(text: str) -> bytes:
        sent = item(nothing)
        sent["body"] = b64encode(text.encode(errors="surrogateescape")).decode()
        return json.dumps(sent).encode()

    return {
        **{f"{name} (no task)": raw for name, raw in BAD_MESSAGES.items()},
        **{name: body(f"[[], {text}, {{}}]") for name, text in FIELDS.items()},
        **{name: body(f'[[], {{"v": 1}}, {json.dumps(embed)}]') for name, embed in EMBEDDED.items()},
        **{name: json.dumps(item(nothing, **headers)).encode() for name, headers in HEADERS.items()},
        "positional arguments": body('[[1, 2], {"v": 1}, {}]'),
        "an unknown task": json.dumps(item(nothing, task="nothing.of.ours")).encode(),
        "an id of odd letters": json.dumps(item(nothing, id="\0\u2028\x1b[2J")).encode(),
    }

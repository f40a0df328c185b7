"""Messages that break a rule, and the means to make them: a sound one is spoiled at one place."""

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that every door must refuse, with the same code, naming the same field.

    Args:
        name: What is wrong.
        text: Its JSON, or what stands in its place.
        code: The contract's code.
        field: The place in the message, empty for the message itself.
        is_jsonb: False: Postgres itself has no such JSON, so that the SQL door never sees it.
    """

    name: str
    text: str
    code: str
    field: str
    is_jsonb: bool = True

    def __str__(self) -> str:
        return self.name


def spoiled(good: dict[str, Any], path: str, value: object = ..., **others: object) -> str:
    """Return the JSON of a message with another value at a path, or, without one, with nothing there.

    Args:
        good: A sound message; it stays as it is.
        path: Names, separated by points.
        value: What stands there.
        **others: Values of other fields of the message.
    """
    message: dict[str, Any] = deepcopy(good) | others
    *parents, last = path.split(".")
    place: Any = message
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(message)


# The same for every id that an upstream gives.
BAD_IDS: dict[str, object] = {
    "empty": "",
    "201 characters": "x" * 201,
    "blank": "   ",
    "blank beyond ASCII": "\u00a0\u2003",
    "a number": 7,
    "a list": ["a"],
    "an object": {"a": [{"b": [1, 2]}]},
    "a line break": 'a\n{"level":"error"}',
    "a line break at its end": "a\n",
    "an escape sequence": "\x1b[2J",
    "DEL": "a\x7f",
    "a C1 control character": "a\x85b",
}
GOOD_IDS: dict[str, str] = {
    "200 characters of four bytes": "\U0001f600" * 200,
    "a path": "../../etc",
    "a shell's command": "; rm -rf /",
    "a shell's expansion": "$(id)",
    "one character": "x",
    "white space inside": " a b ",
    "a composed letter": "caf\u00e9",
    "a letter and its accent": "cafe\u0301",
}
BAD_COUNTS: dict[str, object] = {
    "0": 0,
    "negative": -1,
    "a fraction": 1.5,
    "a float without a fraction": 1.0,
    "a boolean": True,
    "2^31": 2**31,
    "2^63": 2**63,
    "text": "1",
}
BAD_REPLY_QUEUES: dict[str, object] = {
    "another queue": "resumes",
    "no name behind the point": "continuations.",
    "upper case": "continuations.A",
    "65 characters": "continuations." + "a" * 65,
    "a line break at its end": "continuations\n",
    "a number": 7,
}
BAD_VERSIONS: dict[str, object] = {"2": 2, "text": "1", "a float": 1.0, "a boolean": True, "null": None}


def each(
    good: dict[str, Any], path: str, values: dict[str, object], *, code: str = "invalid-message", **others: object
) -> list[Bad]:
    """Return a bad message for each value at a path."""
    return [Bad(f"{path}: {name}", spoiled(good, path, value, **others), code, path) for name, value in values.items()]


def missing(good: dict[str, Any], *paths: str) -> list[Bad]:
    """Return a bad message for each path that is left out, and for each that is null."""
    return [
        Bad(f"{path} {how}", spoiled(good, path, value), "invalid-message", path)
        for path in paths
        for how, value in (("missing", ...), ("null", None))
    ]


def no_message(good: dict[str, Any]) -> list[Bad]:
    """Return what is no message at all, is one of another version, or has a field too many."""
    return [
        *(Bad(f"the message is {text}", text, "invalid-message", "") for text in ("[]", "null", '"text"', "7", "true")),
        Bad("the message is empty", "", "invalid-message", "", is_jsonb=False),
        Bad("the message is no JSON", "{", "invalid-message", "", is_jsonb=False),
        Bad("nested garbage", "[" * 10_000 + "]" * 10_000, "invalid-message", ""),
        Bad("v missing", spoiled(good, "v"), "unsupported-version", "v"),
        *each(good, "v", BAD_VERSIONS, code="unsupported-version"),
        Bad("an unknown field", spoiled(good, "handsake", value=True), "unknown-field", "handsake"),
    ]

"""Whom a message names that could not be read: each of its names is found on its own, whatever the rest looks like.

A decoder gives up at the first mistake: a number out of range, nesting without end, half a surrogate. Here only
texts and brackets are looked at, so that the sender of such a message is still told. Source: the contract, section 1,
`run.refused`.
"""

import re
from itertools import islice
from typing import Final

import msgspec

from shared.queues import is_reply_queue
from shared.reading import is_id

# A text, or a mark; numbers and words between them say nothing here.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[][{},]', re.DOTALL)
# A message has at most some 20,000; more would keep a drain from its other messages.
_TOKENS_MAX: Final = 200_000
# Where they stand in [args, kwargs, embed].
_PLACES: Final[dict[tuple[int | str | None, ...], str]] = {
    (1, "run_id"): "run_id",
    (1, "dependency_id"): "dependency_id",
    (1, "dependency", "id"): "dependency_id",
    (1, "continuation_id"): "dependency_id",  # ours is the dependency's
    (1, "reply_to"): "reply_to",
    (1, "receipt_to"): "receipt_to",
}
_DEPTH: Final = 3


class Named(msgspec.Struct, frozen=True):
    """The names of a message that are themselves valid."""

    run_id: str | None = None
    dependency_id: str | None = None
    reply_to: str | None = None
    receipt_to: str | None = None


def find_names(body: bytes) -> Named:
    """Find the names in the JSON of a message's body, `[args, kwargs, embed]`; of a name that comes twice the last."""
    found: dict[str, str] = {}
    # The place in each open bracket: a position in an array, a key in an object, None before a key.
    place: list[int | str | None] = []
    for token in islice(_TOKEN.finditer(body), _TOKENS_MAX):
        text = token.group()
        match text:
            case b"[":
                place.append(0)
            case b"{":
                place.append(None)
            case b"]" | b"}":
                del place[-1:]
            case b",":
                _step(place)
            case _ if place and place[-1] is None:
                place[-1] = _decoded(text) or ""
            case _:
                name = _PLACES.get(tuple(place)) if len(place) <= _DEPTH else None
                if name is not None:
                    found[name] = _decoded(text) or ""
    queues = ("reply_to", "receipt_to")
    return Named(
        **{name: value for name, value in found.items() if (is_reply_queue(value) if name in queues else is_id(value))}
    )


def _step(place: list[int | str | None]) -> None:
    if place:
        at = place[-1]
        place[-1] = at + 1 if isinstance(at, int) else None


def _decoded(text: bytes) -> str | None:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.MsgspecError, UnicodeError):
        return None

"""Inputs of `checkpoint.ready`: what neither a queue nor the client may let in, and what stands just inside.

SQL has no such function: who hears the question on a queue answers on one.
"""

from typing import Any
from uuid import uuid4

from bad_input import BAD_COUNTS, BAD_IDS, BAD_REPLY_QUEUES, GOOD_IDS, Bad, each, missing, no_message, spoiled


def answer(**fields: Any) -> dict[str, Any]:
    """Return a sound answer of a run of its own, with whatever fields are given."""
    return {"v": 1, "run_id": f"run-{uuid4().hex}", "wait_number": 1} | fields


BAD_ANSWERS: list[Bad] = [
    *no_message(answer()),
    *missing(answer(), "run_id", "wait_number"),
    *each(answer(), "run_id", BAD_IDS),
    Bad("run_id: a NUL", spoiled(answer(), "run_id", "a\0b"), "invalid-message", "run_id"),
    *each(answer(), "wait_number", BAD_COUNTS),
    *each(answer(), "receipt_to", BAD_REPLY_QUEUES),
    Bad("an attempt", spoiled(answer(), "attempt", 1), "unknown-field", "attempt"),
    Bad("a dependency", spoiled(answer(), "dependency_id", "d"), "unknown-field", "dependency_id"),
]
GOOD_ANSWERS: dict[str, str] = {
    **{f"run_id: {name}": spoiled(answer(), "run_id", text) for name, text in GOOD_IDS.items()},
    "of a run that nobody knows": spoiled(answer(), "run_id", "nobody"),
    "the highest wait": spoiled(answer(), "wait_number", 2**31 - 1),
    "a receipt": spoiled(answer(), "receipt_to", "continuations.a_b-1"),
    "null for what may be left out": spoiled(answer(), "receipt_to", None),
}

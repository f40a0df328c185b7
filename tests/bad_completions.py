"""Inputs of `dependency.complete` and `checkpoint.cancel`: what no door may let in, and what stands just inside."""

import json
from typing import Any
from uuid import uuid4

from bad_input import BAD_COUNTS, BAD_IDS, BAD_REPLY_QUEUES, GOOD_IDS, Bad, each, missing, no_message, spoiled


def completion(**fields: Any) -> dict[str, Any]:
    """Return a sound completion of a dependency of its own, with whatever fields are given."""
    return {"v": 1, "dependency_id": f"child-{uuid4().hex}", "outcome": None, "outcome_type": "success"} | fields


def cancel(type_: str = "RUN_CANCELLED", **fields: Any) -> dict[str, Any]:
    """Return a sound cancel of a run of its own, with whatever fields are given."""
    return {"v": 1, "run_id": f"run-{uuid4().hex}", "reason": {"type": type_}} | fields


def nested(levels: int) -> object:
    """Return arrays in each other."""
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


def of_size(size: int) -> str:
    """Return text that takes so many bytes as JSON."""
    return "x" * (size - 2)


BAD_COMPLETIONS: list[Bad] = [
    *no_message(completion()),
    *missing(completion(), "dependency_id", "outcome_type"),
    *each(completion(), "dependency_id", BAD_IDS),
    *each(completion(), "outcome_type", {"unknown": "done", "upper case": "SUCCESS", "a number": 7}),
    *each(completion(), "receipt_to", BAD_REPLY_QUEUES),
    Bad(
        "outcome: one byte more than 64 KiB", spoiled(completion(), "outcome", of_size(65_537)), "too-large", "outcome"
    ),
    Bad(
        "outcome: more than 64 KiB with its spaces",
        spoiled(completion(), "outcome", [1] * 30_000),
        "too-large",
        "outcome",
    ),
    *each(completion(), "outcome", {"16 levels deep": nested(16), "1,000 levels deep": nested(500)}),
    *each(completion(), "outcome", {"deep in an object": {"a": {"b": nested(14)}}}),
    Bad("more than 1 MiB", spoiled(completion(), "outcome", of_size(1_100_000)), "too-large", ""),
]
GOOD_COMPLETIONS: dict[str, str] = {
    **{f"dependency_id: {name}": spoiled(completion(), "dependency_id", text) for name, text in GOOD_IDS.items()},
    **{
        f"outcome: {name}": spoiled(completion(), "outcome", value)
        for name, value in {
            "64 KiB": of_size(65_536),
            "15 levels deep": nested(15),
            "a number": 7,
            "false": False,
            "text": "text",
            "a fraction": 0.1,
            "an object": {"a": {"": [1, None]}},
        }.items()
    },
    "outcome left out": spoiled(completion(), "outcome"),
    "nulls": json.dumps(completion(item_id=None, items_added=None, sealed=None, receipt_to=None)),
}

REASON = "reason"
NUMBERED = cancel("MANUAL", wait_number=3)
ATTEMPT = cancel("ATTEMPT_OVER", attempt=3)
BAD_CANCELS: list[Bad] = [
    *no_message(cancel()),
    *missing(cancel(), "run_id", REASON, "reason.type"),
    *each(cancel(), "run_id", BAD_IDS),
    *each(cancel(), REASON, {"text": "MANUAL", "a list": []}),
    *each(
        cancel(),
        "reason.type",
        {"10 KB": "B" * 10_000, "unknown": "BORED", "ours": "SUPERSEDED", "also ours": "DEPENDENCY_RESUMED"},
    ),
    *each(cancel(), "reason.detail", {"10 KB": "x" * 10_000, "1,001 characters": "x" * 1_001, "a number": 7}),
    Bad("an unknown field of the reason", spoiled(cancel(), "reason.why", "x"), "unknown-field", "reason.why"),
    *each(NUMBERED, "wait_number", BAD_COUNTS),
    *each(ATTEMPT, "attempt", BAD_COUNTS),
    *missing(NUMBERED, "wait_number"),
    *missing(cancel("WORKLOAD_DISCONNECTED", wait_number=3), "wait_number"),
    *missing(ATTEMPT, "attempt"),
    *each(ATTEMPT, "wait_number", {"beside an attempt that is over": 3}),
    *each(cancel(), "receipt_to", BAD_REPLY_QUEUES),
]
GOOD_CANCELS: dict[str, str] = {
    **{f"run_id: {name}": spoiled(cancel(), "run_id", text) for name, text in GOOD_IDS.items()},
    "the longest detail": spoiled(cancel(), "reason.detail", "\U0001f600" * 1_000),
    "nulls": spoiled(cancel(), "reason.detail", None, attempt=None, wait_number=None, receipt_to=None),
    "an attempt beside a run that is over": json.dumps(cancel("RUN_CRASHED", attempt=2)),
    "the highest number": json.dumps(cancel("MANUAL", wait_number=2**31 - 1)),
    "the highest attempt": json.dumps(cancel("ATTEMPT_OVER", attempt=2**31 - 1)),
}

"""Inputs of `checkpoint.defer`: what no door may let in, and what stands just inside."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from bad_input import (
    BAD_COUNTS,
    BAD_IDS,
    BAD_REPLY_QUEUES,
    GOOD_IDS,
    Bad,
    each,
    missing,
    no_message,
    spoiled,
)


def moment(ahead: timedelta) -> str:
    """Return a moment from now as upstreams write it."""
    return (datetime.now(UTC) + ahead).isoformat()


def good(**fields: Any) -> dict[str, Any]:
    """Return a sound registration of a wait of a run of its own, with whatever fields are given."""
    name = uuid4().hex
    usual: dict[str, Any] = {
        "v": 1,
        "run_id": f"run-{name}",
        "attempt": 1,
        "wait_number": 1,
        "reason": "WAIT_FOR_TASK",
        "dependency": {"id": f"child-{name}"},
        "workload": {"engine": "simulate", "node": "node-1", "pid": 7, "started_at_ticks": 70},
    }
    return usual | fields


def timed(resume_at: object, reason: str = "WAIT_FOR_DURATION") -> dict[str, Any]:
    """Return a registration of a wait that ends at a time."""
    return good(reason=reason, dependency={"id": uuid4().hex, "resume_at": resume_at})


def batch(**dependency: Any) -> dict[str, Any]:
    """Return a registration of a wait for a batch."""
    return good(reason="WAIT_FOR_BATCH", dependency={"id": uuid4().hex, "items": ["a", "b"]} | dependency)


def in_container(**workload: Any) -> dict[str, Any]:
    """Return a registration of a wait in a container."""
    return good(workload={"engine": "docker", "node": "node-1", "container": "a1"} | workload)


ITEMS = "dependency.items"
RESUME_AT = "dependency.resume_at"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BAD_TIMES: dict[str, object] = {
    "without a zone": "2026-12-01T00:00:00",
    "a date": "2026-12-01",
    "a word": "tomorrow",
    "a number": 1_795_000_000,
    "year 9999": "9999-01-01T00:00:00Z",
    "more than 10 years ahead": moment(timedelta(days=3660)),
    "no such day": "2027-02-30T00:00:00Z",
    "no such hour": "2027-02-01T25:00:00Z",
    "hour 24": "2027-02-01T24:00:00Z",
    "a second too many": "2027-02-01T00:00:60Z",
    "no such zone": "2027-02-01T00:00:00+25:00",
    "an offset of a day": "2027-02-01T00:00:00+16:00",
    "without seconds": "2027-02-01T00:00Z",
    "the year 0": "0000-01-01T00:00:00Z",
    "a zone by name": "2027-02-01T00:00:00 Europe/Berlin",
    "a line break at its end": "2027-02-01T00:00:00Z\n",
}
BAD_TRACES: dict[str, object] = {
    "a word": "trace",
    "version ff": "ff" + TRACE[2:],
    "no trace": "00-" + "0" * 32 + TRACE[35:],
    "no parent": TRACE[:36] + "0" * 16 + "-01",
    "upper case": TRACE.upper(),
    "a line break at its end": TRACE + "\n",
    "a number": 7,
}
BAD_NODES: dict[str, object] = {
    "empty": "",
    "upper case": "Node",
    "64 characters": "n" * 64,
    "a dash first": "-n",
    "a path": "../n",
    "a line break at its end": "n\n",
    "a number": 7,
}
BAD_CONTAINERS: dict[str, object] = {
    "an option": "--help",
    "a short option": "-v",
    "a shell's expansion": "$(x)",
    "64 KiB": "c" * 65_536,
    "empty": "",
    "a line break at its end": "c\n",
    "a number": 7,
}


def _workloads() -> list[Bad]:
    place = "workload"
    wrong: dict[str, object] = {"a list": [], "text": "node-1"}
    both = {"engine": "simulate", "node": "n", "pid": 7, "started_at_ticks": 70, "container": "a1"}
    nowhere = {"engine": "simulate", "node": "n"}
    return [
        *missing(good(), "workload", "workload.engine", "workload.node"),
        *each(good(), place, wrong),
        *each(good(), place, {"both pid and container": both, "neither pid nor container": nowhere}),
        *each(good(), "workload.engine", {"unknown": "criu", "upper case": "SIMULATE", "a number": 7}),
        *each(good(), "workload.node", BAD_NODES),
        *each(good(), "workload.pid", BAD_COUNTS),
        *each(good(), place, {"pid without started_at_ticks": nowhere | {"pid": 7}}),
        *each(good(), place, {"ticks beside a container": nowhere | {"container": "a", "started_at_ticks": 7}}),
        *each(good(), "workload.started_at_ticks", {"negative": -1, "10^18": 10**18, "text": "7", "a boolean": True}),
        *each(in_container(), "workload.container", BAD_CONTAINERS),
        Bad("an unknown field of the workload", spoiled(good(), "workload.image", "x"), "unknown-field",
            "workload.image"),
    ]  # fmt: skip


def _dependencies() -> list[Bad]:
    own = good()
    return [
        *missing(good(), "dependency", "dependency.id"),
        *each(good(), "dependency", {"a list": [], "text": "child"}),
        *each(good(), "dependency.id", BAD_IDS),
        Bad("a run that waits for itself", spoiled(own, "dependency.id", own["run_id"]), "waits-for-itself",
            "dependency.id"),
        Bad("an unknown field of the dependency", spoiled(good(), "dependency.kind", "x"), "unknown-field",
            "dependency.kind"),
        *each(good(), ITEMS, {"not for a batch": ["a"], "not for a batch, none": []}),
        Bad("sealed, not for a batch", spoiled(good(), "dependency.sealed", value=True), "invalid-message", ITEMS),
        *missing(batch(), ITEMS),
        *each(batch(), ITEMS, {"10,001": [str(n) for n in range(10_001)], "an id twice": ["a", "b", "a"]}),
        *each(batch(), ITEMS, {"no list": "a", "an object": {"a": 1}, "an empty id": ["a", ""], "a number": ["a", 7]}),
        *each(batch(), "dependency.sealed", {"text": "yes", "a number": 1}),
    ]  # fmt: skip


def _times() -> list[Bad]:
    return [
        *missing(timed(moment(timedelta(minutes=1))), RESUME_AT),
        *(Bad(f"{case.name}, of a retry", case.text, case.code, case.field)
          for case in missing(timed(moment(timedelta(minutes=1)), "RETRYING_AFTER_FAILURE"), RESUME_AT)),
        *each(timed(None), RESUME_AT, BAD_TIMES),
        *each(good(), RESUME_AT, {"of a wait for a task": moment(timedelta(minutes=1))}),
        *each(batch(), RESUME_AT, {"of a wait for a batch": moment(timedelta(minutes=1))}),
        *each(timed(None, "MANUAL"), RESUME_AT, {"of a manual wait, a word": "soon"}),
    ]  # fmt: skip


BAD_DEFERS: list[Bad] = [
    *no_message(good()),
    *missing(good(), "run_id", "attempt", "wait_number", "reason"),
    *each(good(), "run_id", BAD_IDS),
    Bad("run_id: NUL", spoiled(good(), "run_id", "a\0b"), "invalid-message", "run_id", is_jsonb=False),
    Bad("run_id: half a surrogate pair", spoiled(good(), "run_id", "\ud800"), "invalid-message", "", is_jsonb=False),
    *each(good(), "attempt", BAD_COUNTS),
    *each(good(), "wait_number", BAD_COUNTS),
    Bad(
        "attempt: 10^6 digits",
        spoiled(good(), "attempt", 0).replace('"attempt": 0', f'"attempt": {"9" * 10**6}'),
        "invalid-message",
        "attempt",
        is_jsonb=False,
    ),
    *each(good(), "reason", {"unknown": "WAIT_FOR_RAIN", "lower case": "wait_for_task", "a number": 7, "a list": []}),
    *_dependencies(),
    *_times(),
    *_workloads(),
    *each(good(), "delay_ms", {"negative": -1, "text": "30s", "10^18": 10**18, "48 h and 1 ms": 172_800_001}),
    *each(good(), "delay_ms", {"a fraction": 1.5, "a float": 1.0, "a boolean": True, "2^63": 2**63}),
    Bad("delay_ms: NaN", spoiled(good(), "delay_ms", float("nan")), "invalid-message", "", is_jsonb=False),
    Bad("delay_ms: Infinity", spoiled(good(), "delay_ms", float("inf")), "invalid-message", "", is_jsonb=False),
    *each(good(), "key", BAD_IDS),
    *each(good(), "handshake", {"text": "true", "a number": 1}),
    *each(good(), "reply_to", BAD_REPLY_QUEUES),
    *each(good(), "receipt_to", BAD_REPLY_QUEUES),
    *each(good(), "traceparent", BAD_TRACES),
    Bad("more than 1 MiB", spoiled(batch(), ITEMS, [f"{n:>200}" for n in range(6_000)]), "too-large", ""),
]

NULLS = dict.fromkeys(["delay_ms", "key", "handshake", "reply_to", "receipt_to", "traceparent"])
GOOD_DEFERS: dict[str, str] = {
    **{
        f"run_id: {name}": spoiled(good(), "run_id", f"{text[:199]}{n}")
        for n, (name, text) in enumerate(GOOD_IDS.items())
    },
    **{f"dependency.id: {name}": spoiled(good(), "dependency.id", text) for name, text in GOOD_IDS.items()},
    **{f"key: {name}": spoiled(good(), "key", text) for name, text in GOOD_IDS.items()},
    "the highest numbers": spoiled(good(), "attempt", 2**31 - 1, wait_number=2**31 - 1),
    "no delay": spoiled(good(), "delay_ms", 0),
    "the longest delay": spoiled(good(), "delay_ms", 172_800_000),
    "every field that may be null is": json.dumps(good(**NULLS)),
    "nulls inside": spoiled(in_container(pid=None, started_at_ticks=None), "dependency.items", None),
    "the longest node": spoiled(good(), "workload.node", "n" * 63),
    "the longest container": spoiled(in_container(), "workload.container", "c" * 128),
    "pid 1, started with the machine": json.dumps(
        good(workload={"engine": "process", "node": "n", "pid": 1, "started_at_ticks": 0})
    ),
    "a time in the past": json.dumps(timed("2020-01-01T00:00:00Z")),
    "a time with an offset": json.dumps(timed("2027-02-01T12:00:00.123456+05:30")),
    "a time in lower case": json.dumps(timed("2027-02-01t12:00:00z")),
    "a time in nanoseconds": json.dumps(timed("2027-02-01T12:00:00.123456789Z")),
    "the first moment there is": json.dumps(timed("0001-01-01T00:00:00+14:00")),
    "a time to the last digit": json.dumps(timed("2027-02-01T12:00:00." + "3" * 1_000 + "Z")),
    "a time with a space": json.dumps(timed("2027-02-01 12:00:00Z")),
    "the largest offset": json.dumps(timed("2027-02-01T12:00:00-15:59")),
    "10 years less a day": json.dumps(timed(moment(timedelta(days=3649)))),
    "a manual wait without a time": json.dumps(good(reason="MANUAL")),
    "a retry": json.dumps(timed(moment(timedelta(minutes=5)), "RETRYING_AFTER_FAILURE")),
    "the plain reply queue": spoiled(good(), "reply_to", "continuations"),
    "the longest reply queue": spoiled(good(), "reply_to", "continuations." + "a_-9" * 16),
    "a trace": spoiled(good(), "traceparent", TRACE),
    "a trace of a later version": spoiled(good(), "traceparent", "fe" + TRACE[2:]),
}

"""Values of Python that JSON has no word for: refused at the edge, never made into something else."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from refusable import WORKLOAD
from upstream import a_completion, a_wait

from shared.client import Checkpoints, Dependency
from shared.errors import Refused


def deep() -> list[Any]:
    """Return lists in lists, deeper than Python follows."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


OUTCOMES: dict[str, Any] = {
    "NaN": float("nan"),
    "Infinity": {"a": [float("-inf")]},
    "bytes": b"abc",
    "bytes inside": {"a": b"abc"},
    "half a character": "\ud800",
    "nested deep": deep(),
    "an object of Python": object(),
}
FIELDS: dict[str, dict[str, Any]] = {
    "NaN for a delay": {"delay_ms": float("nan")},
    "bytes for a key": {"key": b"abc"},
    "bytes for what is waited for": {"dependency": Dependency(b"abc")},  # pyright: ignore[reportArgumentType]
    "half a character": {"key": "\ud800"},
}


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_an_outcome_that_is_no_json_is_refused(outcome: Any, client: Checkpoints) -> None:
    """By name, before anything is written."""
    with pytest.raises(Refused) as raised:
        client.complete(a_completion(f"run-{uuid4()}", outcome=outcome))

    assert raised.value.code == "invalid-message"


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS.keys())
def test_a_field_that_is_no_json_is_refused(fields: dict[str, Any], client: Checkpoints) -> None:
    """Not taken for a field that was left out."""
    with pytest.raises(Refused):
        client.defer(a_wait(f"run-{uuid4()}", WORKLOAD, **fields))


def test_what_json_can_say_is_said(client: Checkpoints) -> None:
    """Tuples are lists, moments are texts, as everywhere in Python's JSON of today."""
    run = f"run-{uuid4()}"
    wait = a_wait(run, WORKLOAD, reason="WAIT_FOR_BATCH", dependency=Dependency(run + "/b", items=("a", "b")))  # pyright: ignore[reportArgumentType]

    assert client.defer(wait) is not None
    assert client.complete(a_completion(run, 2, outcome=({"at": 1.5}, None, True)))
    assert client.complete(a_completion(run, 3, outcome=str(datetime.now(UTC))))

"""What is kept of refused messages: enough to see what was wrong, and never more than is set."""

import json
from typing import Any

import pytest
from message_door import MessageDoor, item_of
from refusable import OneRun

from shared.guard import set_aside
from shared.post import envelope
from shared.queues import DEFERRALS
from shared.settings import Settings
from workers.sweeper.sweeps import retire, sweep_rejected


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep three refused messages."""
    return settings.model_copy(update={"keep_rejections": 3})


def test_only_the_newest_are_kept(message_door: MessageDoor) -> None:
    """Those that drains refused are bounded as well, with nothing set aside in Redis."""
    for number in range(7):
        message_door.push(DEFERRALS, b"bad %d" % number)

    with message_door.at.pool.connection() as conn:
        assert retire(message_door.at, conn) == 4
        assert retire(message_door.at, conn) == 0

    assert [kept["raw"] for kept in message_door.rejections()] == [b"bad 4", b"bad 5", b"bad 6"]


def test_what_celerys_workers_set_aside_is_bounded_with_it(message_door: MessageDoor) -> None:
    """Redis' list moves to Postgres whole, and is one with the rest there."""
    at = message_door.at
    for number in range(5):
        at.redis.lpush(at.keys.rejected, set_aside(b"bad %d" % number, "checkpoints.node-1", "it is \0 bad"))

    with at.pool.connection() as conn:
        assert sweep_rejected(at, conn) == 5
        assert sweep_rejected(at, conn) == 0
        assert [kept["problem"] for kept in message_door.rejections()] == ["it is \ufffd bad"] * 5
        retire(at, conn)

    assert [kept["raw"] for kept in message_door.rejections()] == [b"bad 2", b"bad 3", b"bad 4"]


@pytest.mark.parametrize(
    "raw",
    [
        b"x" * 100_000,
        item_of(OneRun().complete(outcome="x" * 100_000), "large"),
        b"y" * 3_000_000,
    ],
    ids=["no message", "a message", "larger than any message may be"],
)
def test_its_bytes_are_cut(raw: bytes, message_door: MessageDoor) -> None:
    """The first 64 KiB, as they came."""
    message_door.push(DEFERRALS, raw)

    assert [kept["raw"] for kept in message_door.rejections()] == [raw[:65_536]]


def test_a_row_says_whose_message_it_was_and_what_was_wrong(message_door: MessageDoor) -> None:
    """Queue, task, id, run and dependency; the code, the problem and the facts."""
    run = OneRun()

    message_door.push(DEFERRALS, item_of(run.defer(delay_ms=-1), "id-1"))

    (kept,) = message_door.rejections()
    assert (kept["queue"], kept["message"], kept["message_id"]) == (DEFERRALS, "checkpoint.defer", "id-1")
    assert (kept["run_id"], kept["dependency_id"]) == (run.id, f"{run.id}/1")
    assert (kept["code"], kept["facts"]["field"]) == ("invalid-message", "delay_ms")


@pytest.mark.parametrize(
    ("task", "id_", "fields"),
    [
        ("checkpoint.\0", "id", {}),
        ("checkpoint.defer", "a\0b", {"v": 1}),
        ("checkpoint.defer", "id", {"v": 1, "a\0b": 1}),
        ("t" * 5_000, "i" * 5_000, {}),
    ],
    ids=["task", "id", "field", "long"],
)
def test_names_that_postgres_cannot_hold_are_kept_as_well_as_it_can(
    task: str, id_: str, fields: dict[str, Any], message_door: MessageDoor
) -> None:
    """Its sender is told under the id that it gave, and a good message beside it is taken."""
    run = OneRun()
    fields = fields | {"run_id": run.id, "receipt_to": "continuations"}
    bad = envelope(task, json.dumps(fields).encode(), task_id=id_, queue=DEFERRALS)

    handled = message_door.push(DEFERRALS, bad, item_of(run.defer(), "good"))

    assert [letter.id for letter in handled.letters] == ["good"]
    (refused,) = message_door.replies("continuations")
    assert refused.id == id_[:200]
    (kept,) = message_door.rejections()
    assert (kept["message_id"], kept["raw"]) == (id_[:200].replace("\0", "\ufffd"), bad)

"""The tables of bad and borderline inputs, held against the drains: what lies on a queue in any language."""

from typing import Final

import pytest
from bad_completions import BAD_CANCELS, BAD_COMPLETIONS, GOOD_CANCELS, GOOD_COMPLETIONS
from bad_defers import BAD_DEFERS, GOOD_DEFERS
from bad_input import Bad
from message_door import MessageDoor
from refusable import QUEUES, TASKS
from sql_door import Door

from shared.connections import Connections
from shared.post import envelope

BAD: Final[dict[Door, list[Bad]]] = {"defer": BAD_DEFERS, "complete": BAD_COMPLETIONS, "cancel": BAD_CANCELS}
GOOD: Final[dict[Door, dict[str, str]]] = {
    "defer": GOOD_DEFERS,
    "complete": GOOD_COMPLETIONS,
    "cancel": GOOD_CANCELS,
}


@pytest.mark.parametrize("door", BAD)
def test_a_drain_refuses_each_by_name(door: Door, connections: Connections) -> None:
    """All in one batch, and between them what is sound: each is kept with its code and field, the rest is written."""
    queues = MessageDoor(connections)
    sound = [text for text in GOOD[door].values() if len(text) < 100_000]
    batch = [raw for text, case in zip(sound * len(BAD[door]), BAD[door], strict=False) for raw in (text, case.text)]

    handled = queues.push(QUEUES[door], *(item(door, text, number) for number, text in enumerate(batch)))

    assert len(handled.letters) == len(BAD[door])
    kept = queues.rejections()
    assert [one["message_id"] for one in kept] == [str(2 * number + 1) for number in range(len(BAD[door]))]
    found = [(case.name, one["code"], field_of(one["facts"])) for case, one in zip(BAD[door], kept, strict=True)]
    assert found == [(case.name, case.code, case.field) for case in BAD[door]]
    assert all("expected" in one["problem"] or "docs/messages.md" in one["problem"] for one in kept)


@pytest.mark.parametrize("door", GOOD)
def test_a_drain_takes_what_stands_just_inside(door: Door, connections: Connections) -> None:
    """All in one batch: none is refused."""
    queues = MessageDoor(connections)

    handled = queues.push(QUEUES[door], *(item(door, text, number) for number, text in enumerate(GOOD[door].values())))

    assert [one.rejection.problem for one in handled.returns] == []
    assert len(handled.letters) == len(GOOD[door])


def item(door: Door, text: str, number: int) -> bytes:
    """Return a message whose fields are this text, as it lies in Redis."""
    return envelope(TASKS[door], text.encode(), task_id=str(number), queue=QUEUES[door])


def field_of(facts: dict[str, str]) -> str:
    """Return what a refusal names; the message itself is the body of what lies in Redis."""
    field = facts.get("field", "")
    return "" if field == "body" else field

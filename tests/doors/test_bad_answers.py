"""The table of bad and borderline answers of runs that were asked, held against the types, the drain and the client."""

import json

import pytest
from bad_answers import BAD_ANSWERS, GOOD_ANSWERS
from bad_input import Bad
from message_door import MessageDoor

from shared.client import Checkpoints, Refused
from shared.connections import Connections
from shared.messages import Ready
from shared.post import envelope
from shared.queues import DEFERRALS, TaskName
from shared.reading import read


@pytest.mark.parametrize("case", BAD_ANSWERS, ids=str)
def test_the_type_door_refuses_it_by_name(case: Bad) -> None:
    """With its code and field, and what was expected."""
    with pytest.raises(Refused, match=r"expected|Write it as") as caught:
        read(case.text.encode(), Ready)

    assert (caught.value.code, caught.value.facts.get("field", "")) == (case.code, case.field)


def test_a_drain_refuses_each_and_takes_what_is_between(connections: Connections) -> None:
    """All in one batch: each bad one is kept with its code, and what is sound is taken, although it changes nothing."""
    queues = MessageDoor(connections)
    sound = list(GOOD_ANSWERS.values()) * len(BAD_ANSWERS)
    batch = [text for good, bad in zip(sound, BAD_ANSWERS, strict=False) for text in (good, bad.text)]

    handled = queues.push(DEFERRALS, *(item(text, number) for number, text in enumerate(batch)))

    assert len(handled.letters) == len(BAD_ANSWERS)
    assert [one["code"] for one in queues.rejections()] == [bad.code for bad in BAD_ANSWERS]


@pytest.mark.parametrize("text", GOOD_ANSWERS.values(), ids=GOOD_ANSWERS)
def test_a_drain_takes_what_stands_just_inside(text: str, connections: Connections) -> None:
    """None is refused, and nobody waits for its take."""
    handled = MessageDoor(connections).push(DEFERRALS, item(text, 1))

    assert [one.rejection.problem for one in handled.returns] == []


IN_PYTHON = [case for case in BAD_ANSWERS if case.field in {"run_id", "wait_number", "receipt_to"}]


@pytest.mark.parametrize("case", [case for case in IN_PYTHON if not case.name.endswith("missing")], ids=str)
def test_the_client_refuses_it(case: Bad, client: Checkpoints) -> None:
    """As far as Python can say it; before anything is written or sent."""
    fields = json.loads(case.text)

    with pytest.raises(Refused) as caught:
        client.ready(fields["run_id"], fields["wait_number"], receipt_to=fields.get("receipt_to"))

    assert caught.value.code == "invalid-message"


def item(text: str, number: int) -> bytes:
    """Return an answer as it lies in Redis."""
    return envelope(TaskName.READY, text.encode(), task_id=str(number), queue=DEFERRALS)

"""`run.refused` and where it goes: to whoever can use it, as far as the message itself says who that is."""

import json
from typing import Any

import pytest
from message_door import MessageDoor
from refusable import OneRun, Said

from shared.post import envelope
from shared.queues import CONTINUATIONS, DEFERRALS, RESUMES

RECEIPTS, REPLIES, OF_THE_WAIT = "continuations.receipts", "continuations.replies", "continuations.wait"
WRONG: dict[str, Any] = {"delay_ms": -1}


@pytest.mark.parametrize(
    ("fields", "queues"),
    [
        ({"receipt_to": RECEIPTS}, [RECEIPTS, CONTINUATIONS]),
        ({"reply_to": REPLIES}, [REPLIES]),
        ({"receipt_to": RECEIPTS, "reply_to": REPLIES}, [RECEIPTS, REPLIES]),
        ({"receipt_to": REPLIES, "reply_to": REPLIES}, [REPLIES]),
        ({"receipt_to": "resumes", "reply_to": REPLIES}, [REPLIES]),
        ({"receipt_to": RECEIPTS, "reply_to": 7}, [RECEIPTS, CONTINUATIONS]),
        ({"receipt_to": CONTINUATIONS}, [CONTINUATIONS]),
        ({}, [CONTINUATIONS]),
        ({"receipt_to": "resumes", "reply_to": ["continuations"]}, [CONTINUATIONS]),
    ],
    ids=str,
)
def test_it_goes_where_the_message_says(fields: dict[str, Any], queues: list[str], message_door: MessageDoor) -> None:
    """To the receipt's queue, and to the reply queue or else to `continuations`; once where they are one."""
    (id_,) = message_door.say(OneRun().defer(**WRONG, **fields))

    assert message_door.reply_queues() == set(queues)
    for queue in queues:
        assert [refused.id for refused in message_door.refusals(queue)] == [id_]


def by_run(run: OneRun) -> Said:
    """Return a wrong message that names a known run and an unknown dependency."""
    return run.defer(2, **WRONG)


def by_dependency(run: OneRun) -> Said:
    """Return a wrong message of another run that names a known dependency."""
    return OneRun().defer(dependency={"id": f"{run.id}/1"}, **WRONG)


def by_completion(run: OneRun) -> Said:
    """Return a wrong completion of a known dependency."""
    return run.complete(outcome_type="done")


def by_cancel(run: OneRun) -> Said:
    """Return a wrong cancel of a known run."""
    return run.cancel("BOREDOM")


@pytest.mark.parametrize("wrong", [by_run, by_dependency, by_completion, by_cancel])
@pytest.mark.parametrize("receipts", [[], [RECEIPTS]], ids=["no receipt", "a receipt"])
def test_it_goes_to_the_queue_of_the_wait_it_names(wrong: Any, receipts: list[str], message_door: MessageDoor) -> None:
    """A message that names no reply queue is answered where the wait's continuation will come, and to its sender."""
    run = OneRun()
    message_door.say(run.defer(reply_to=OF_THE_WAIT))
    task, fields = wrong(run)

    (id_,) = message_door.say((task, fields | dict.fromkeys(["receipt_to"][: len(receipts)], RECEIPTS)))

    assert message_door.reply_queues() == {OF_THE_WAIT, *receipts}
    for queue in (OF_THE_WAIT, *receipts):
        assert [refused.id for refused in message_door.refusals(queue)] == [id_]


def test_a_receipt_is_answered_also_where_nobody_else_is_named(message_door: MessageDoor) -> None:
    """It ends the repeating of whoever sent it; on a queue that all upstreams read it would help none."""
    message_door.push(
        RESUMES, envelope("continuation.done", {"v": 1, "receipt_to": RECEIPTS}, task_id="a", queue=RESUMES)
    )

    assert message_door.reply_queues() == {RECEIPTS}


def test_a_done_is_answered_at_the_wait_it_speaks_of(message_door: MessageDoor) -> None:
    """Its continuation's id is its dependency's."""
    run = OneRun()
    message_door.say(run.defer(reply_to=OF_THE_WAIT))

    message_door.push(
        RESUMES,
        envelope("continuation.done", {"v": 1, "continuation_id": f"{run.id}/1", "x": 1}, task_id="a", queue=RESUMES),
    )

    (refused,) = message_door.refusals(OF_THE_WAIT)
    assert (refused.code, refused.dependency_id) == ("unknown-field", f"{run.id}/1")


def test_a_dependency_says_more_than_a_run(message_door: MessageDoor) -> None:
    """Where both are known, the queue of the dependency's wait is asked first."""
    run, other = OneRun(), OneRun()
    message_door.say(run.defer(reply_to=OF_THE_WAIT), other.defer(reply_to=REPLIES))

    message_door.say(run.defer(2, dependency={"id": f"{other.id}/1"}, **WRONG))

    assert message_door.reply_queues() == {REPLIES}


def test_each_name_is_taken_that_is_itself_valid(message_door: MessageDoor) -> None:
    """A run id that is none hinders neither the dependency nor the queue; it is left out of the answer."""
    run = OneRun()

    message_door.say(run.defer(run_id="", reply_to=REPLIES))

    (refused,) = message_door.refusals(REPLIES)
    assert (refused.run_id, refused.dependency_id) == (None, f"{run.id}/1")


NAMELESS: dict[str, bytes] = {
    "no JSON": b"nothing",
    "no envelope": b"{}",
    "no fields": envelope("checkpoint.defer", {}, task_id="a", queue=DEFERRALS),
    "no id that is one": envelope("checkpoint.defer", {"v": 1, "run_id": 7}, task_id="a", queue=DEFERRALS),
    "fields that are none": envelope("checkpoint.defer", b"[1]", task_id="a", queue=DEFERRALS),
    "another task without a name": envelope("run.away", {"v": 1}, task_id="a", queue=DEFERRALS),
}


@pytest.mark.parametrize("raw", NAMELESS.values(), ids=NAMELESS.keys())
def test_it_goes_nowhere_when_nobody_is_named(raw: bytes, message_door: MessageDoor) -> None:
    """It is only kept: on a queue that all upstreams read it would help none."""
    message_door.push(DEFERRALS, raw)

    assert message_door.reply_queues() == set()
    assert [kept["raw"] for kept in message_door.rejections()] == [raw]


def test_a_task_of_another_queue_is_refused_there(message_door: MessageDoor) -> None:
    """A completion on `deferrals` is told which tasks belong there."""
    _, fields = OneRun().complete(receipt_to=RECEIPTS)

    message_door.push(
        DEFERRALS, envelope("dependency.complete", json.dumps(fields).encode(), task_id="a", queue=DEFERRALS)
    )

    (refused,) = message_door.refusals(RECEIPTS)
    assert refused.facts == {"field": "task"}
    assert (
        "expected one of checkpoint.cancel, checkpoint.defer, checkpoint.ready on the queue deferrals"
        in refused.problem
    )

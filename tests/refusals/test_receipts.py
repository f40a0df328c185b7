"""`message.taken`: the upstream's message is in Postgres, and it may stop repeating it."""

import json
from collections.abc import Callable

import psycopg
import pytest
from message_door import MessageDoor, item_of
from refusable import QUEUES, OneRun, Said
from sql_door import SqlDoor

from shared.messages import Refused, Taken
from shared.post import envelope
from shared.queues import RESUMES

RECEIPTS = "continuations.receipts"
KINDS: dict[str, Callable[[OneRun], Said]] = {
    "a wait": lambda run: run.defer(receipt_to=RECEIPTS),
    "a completion": lambda run: run.complete(receipt_to=RECEIPTS),
    "a cancel": lambda run: run.cancel("RUN_CANCELLED", receipt_to=RECEIPTS),
    "a call-off": lambda run: run.cancel("MANUAL", wait_number=1, receipt_to=RECEIPTS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_is_answered_however_often_it_comes(kind: str, message_door: MessageDoor) -> None:
    """The first, and each repeat: the receipt of the first may have been lost."""
    said = KINDS[kind](OneRun())

    ids = message_door.say(said, said, said)

    assert [(receipt.id, type(receipt)) for receipt in message_door.replies(RECEIPTS)] == [(id_, Taken) for id_ in ids]


def test_the_end_of_a_continuation_is_answered_also_when_it_is_unknown(message_door: MessageDoor) -> None:
    """Whoever says `done` of what was deleted long ago must not repeat it for ever."""
    body = json.dumps({"v": 1, "continuation_id": "long gone", "receipt_to": RECEIPTS}).encode()

    message_door.push(RESUMES, envelope("continuation.done", body, task_id="done-1", queue=RESUMES))

    assert message_door.replies(RECEIPTS) == [Taken(v=1, message="continuation.done", id="done-1")]


def test_nobody_is_told_who_did_not_ask(message_door: MessageDoor) -> None:
    """Without `receipt_to` nothing comes: not on the wait's own queue either."""
    message_door.say(OneRun().defer(reply_to="continuations.replies"))

    assert message_door.reply_queues() == set()


def test_a_refusal_is_its_own_receipt(message_door: MessageDoor) -> None:
    """Of two messages in one batch, the one that a rule refuses is told so, and only so."""
    run = OneRun()
    first, second = run.defer(receipt_to=RECEIPTS), run.defer(2, receipt_to=RECEIPTS)

    message_door.push(QUEUES["defer"], item_of(first, "first"), item_of(second, "second"))

    assert {reply.id: type(reply) for reply in message_door.replies(RECEIPTS)} == {"first": Taken, "second": Refused}


def test_nothing_is_told_before_it_is_sure(message_door: MessageDoor, sql_door: SqlDoor) -> None:
    """A commit that fails is followed by neither receipt nor refusal; the batch is handled again, whole."""
    run = OneRun()
    raws = [item_of(run.defer(receipt_to=RECEIPTS), "good"), item_of(run.defer(attempt=0, receipt_to=RECEIPTS), "bad")]
    sql_door.conn.execute("ALTER TABLE rejection RENAME TO away")

    with pytest.raises(psycopg.Error):
        message_door.push(QUEUES["defer"], *raws)

    assert message_door.reply_queues() == set()
    assert sql_door.counts()[0] == 0
    sql_door.conn.execute("ALTER TABLE away RENAME TO rejection")
    message_door.push(QUEUES["defer"], *raws)
    assert {reply.id: type(reply) for reply in message_door.replies(RECEIPTS)} == {"good": Taken, "bad": Refused}

"""An upstream in Python without a database: its messages are only as safe as Redis until they are answered."""

from collections.abc import Iterator
from threading import Event
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from drained import drained
from pydantic import SecretStr
from refusable import WORKLOAD, OneRun, struct_of
from runs import Run
from upstream import a_completion, a_wait

from shared.client import Cancel, CancelCause, Checkpoints, Dependency
from shared.errors import BadRequest, Unreachable
from shared.messages import Continue, Refused, Taken
from shared.messages import Message as AnyMessage
from shared.settings import Settings
from shared.vocabulary import CancelReason
from workers.node.node import Node

RECEIPTS = "continuations.receipts"


@pytest.fixture
def alone(settings: Settings, node: Node) -> Iterator[Checkpoints]:
    """A client that knows Redis only; both drains are at work."""
    _ = node
    with Checkpoints(settings, uses_database=False) as one, drained(settings):
        yield one


def heard(client: Checkpoints, count: int, queue: str = RECEIPTS) -> list[AnyMessage]:
    """Return the next replies on a queue."""
    stopping = Event()
    found: list[AnyMessage] = []
    for reply in client.replies(queue, stopping=stopping):
        found.append(reply)
        if len(found) == count:
            stopping.set()
    return found


def test_a_wait_goes_from_its_registration_to_done(alone: Checkpoints, settings: Settings, tmp_path: Any) -> None:
    """Each call returns None, and is known to be in Postgres once its id comes back as a receipt."""
    run = Run(tmp_path / "run", node=settings.node)
    ids = [f"mine-{uuid4()}" for _ in range(3)]
    try:
        assert alone.defer(a_wait(run.id, run.workload, receipt_to=RECEIPTS), message_id=ids[0]) is None
        assert heard(alone, 1) == [Taken(v=1, message="checkpoint.defer", id=ids[0])]

        completion = a_completion(run.id, outcome={"rows": 3})
        assert alone.complete(completion) is None
        (continuation,) = heard(alone, 1, "continuations")
        assert isinstance(continuation, Continue)
        assert (continuation.run_id, continuation.mode) == (run.id, "live")

        assert alone.done(continuation.continuation_id, receipt_to=RECEIPTS, message_id=ids[1]) is None
        assert heard(alone, 1) == [Taken(v=1, message="continuation.done", id=ids[1])]
    finally:
        run.end()


def test_a_message_that_is_repeated_under_its_id_is_answered_each_time(alone: Checkpoints) -> None:
    """Nothing is doubled; whoever waits for the answer has it, however often it was lost."""
    run = OneRun()
    wait = struct_of(run.defer(receipt_to=RECEIPTS))
    alone.defer_many([wait, wait], message_ids=["mine", "mine"])
    alone.cancel(
        Cancel(v=1, run_id=run.id, reason=CancelCause(CancelReason.RUN_CANCELLED), receipt_to=RECEIPTS),
        message_id="cancel",
    )

    assert {(one.message, one.id) for one in heard(alone, 3) if isinstance(one, Taken)} == {
        ("checkpoint.defer", "mine"),
        ("checkpoint.cancel", "cancel"),
    }


def test_what_a_rule_refuses_is_heard_of_under_its_id(alone: Checkpoints) -> None:
    """Over the broker the rules are read after the call; the answer names the message, and what to do."""
    run = OneRun()
    waits = [struct_of(run.defer(number, receipt_to=RECEIPTS)) for number in (1, 2)]

    alone.defer_many(waits, message_ids=["first", "second"])

    answers = {one.id: one for one in heard(alone, 2) if isinstance(one, Taken | Refused)}
    assert isinstance(answers["first"], Taken)
    assert isinstance(answers["second"], Refused)
    assert answers["second"].code == "checkpoint-in-progress"


def test_a_malformed_message_is_refused_before_it_is_sent(alone: Checkpoints) -> None:
    """The types of Python allow what the contract does not: a struct that was made by hand is read as at the door."""
    with pytest.raises(BadRequest, match=r"outcome is text with \\u0000"):
        alone.complete(a_completion("run-1", outcome={"text": "a\0b"}))
    with pytest.raises(BadRequest, match="own id"):
        alone.defer(a_wait("run-1", WORKLOAD, dependency=Dependency("run-1")))


def test_each_message_needs_an_id_of_its_own(alone: Checkpoints) -> None:
    """Ids that do not fit the messages are refused, and nothing is sent."""
    waits = [struct_of(OneRun().defer(receipt_to=RECEIPTS)) for _ in range(2)]

    with pytest.raises(BadRequest, match="1 message_ids for 2 messages"):
        alone.defer_many(waits, message_ids=["one"])


def test_a_claim_needs_the_database(alone: Checkpoints) -> None:
    """Only Postgres can say who was first."""
    with pytest.raises(BadRequest, match="claim needs a database"):
        alone.claim("continuation-1")


def test_a_callers_transaction_that_is_rolled_back_said_nothing(client: Checkpoints, database_url: str) -> None:
    """With a connection of its own, an upstream's wait stands or falls with its own rows."""
    wait = struct_of(OneRun().defer())
    with psycopg.connect(database_url) as conn:
        assert client.defer(wait, conn=conn) is not None
        conn.rollback()
        known = conn.execute("SELECT count(*) FROM dependency WHERE run_id = %s", [wait.run_id]).fetchone()

    assert known == (0,)


def test_a_client_without_its_server_says_which(settings: Settings) -> None:
    """The address and the reason, never the password."""
    url = "postgresql://me:secret@127.0.0.1:1/none"
    elsewhere = settings.model_copy(update={"database_url": SecretStr(url)})

    with pytest.raises(Unreachable, match=r"127\.0\.0\.1.*refused(?s:.)*CHECKPOINT_DATABASE_URL") as raised:
        Checkpoints(elsewhere)

    assert "secret" not in str(raised.value)

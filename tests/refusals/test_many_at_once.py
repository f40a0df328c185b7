"""Many in one call, or on one queue: each is answered for itself, and one bad one hinders no other."""

from uuid import uuid4

import pytest
from drained import drained
from message_door import MessageDoor, item_of
from refusable import OneRun, struct_of
from sql_door import SqlDoor
from waiting import wait_until

from shared.broker import run
from shared.client import Checkpoints, Refused
from shared.db.dependencies import CompleteAnswer
from shared.messages import Complete, Defer, Taken
from shared.settings import Settings
from shared.vocabulary import OutcomeType

RECEIPTS = "continuations.receipts"


def waits(count: int) -> list[Defer]:
    """Return so many waits, each of a run of its own."""
    return [struct_of(OneRun().defer()) for _ in range(count)]


@pytest.mark.parametrize("is_own_transaction", [False, True], ids=["by itself", "in the caller's transaction"])
def test_the_client_takes_a_thousand_in_one_call(
    is_own_transaction: bool,  # noqa: FBT001
    client: Checkpoints,
    sql_door: SqlDoor,
) -> None:
    """Each answered in its place: two of one run are one too many, and only the second of them is refused."""
    conn = sql_door.conn if is_own_transaction else None
    thousand = waits(999)
    thousand.insert(500, _second_wait_of(thousand[10]))

    registered = client.defer_many(thousand, conn=conn)
    assert registered is not None
    completed = client.complete_many([_completion(wait) for wait in thousand], conn=conn)
    assert completed is not None

    refused = {number: answer.code for number, answer in enumerate(registered) if isinstance(answer, Refused)}
    assert refused == {500: "checkpoint-in-progress"}
    assert [one.dependency_id for one in registered if not isinstance(one, Refused)] == [
        wait.dependency.id for number, wait in enumerate(thousand) if number != 500
    ]
    assert all(isinstance(one, CompleteAnswer) and one.first for one in completed)
    # That of the wait that was refused is kept for it: it may yet come.
    assert [number for number, one in enumerate(completed) if not getattr(one, "waiter_known", True)] == [500]


@pytest.mark.parametrize("is_own_transaction", [False, True], ids=["by itself", "in the caller's transaction"])
def test_the_client_refuses_one_more_as_a_whole(
    is_own_transaction: bool,  # noqa: FBT001
    client: Checkpoints,
    sql_door: SqlDoor,
) -> None:
    """1,001 in a call: nothing is written."""
    conn = sql_door.conn if is_own_transaction else None
    many = waits(1_001)

    for call in (
        lambda: client.defer_many(many, conn=conn),
        lambda: client.complete_many([_completion(wait) for wait in many], conn=conn),
    ):
        with pytest.raises(Refused, match="1001 messages in one call; expected at most 1000"):
            call()

    assert sql_door.counts() == (0, 0, 0, 0)


def test_a_malformed_one_refuses_the_clients_call_before_anything_is_written(
    client: Checkpoints, sql_door: SqlDoor
) -> None:
    """It is a mistake in the caller's program, not a race: it is raised."""
    with pytest.raises(Refused, match="attempt is 0"):
        client.defer_many([*waits(2), struct_of(OneRun().defer(attempt=0))])

    assert sql_door.counts() == (0, 0, 0, 0)


def test_many_over_the_broker_are_each_answered(
    settings: Settings, message_door: MessageDoor, sql_door: SqlDoor
) -> None:
    """More than a batch in one burst, every seventh of them bad in one of several ways: one answer each."""
    at = message_door.at
    good: list[bytes] = []
    bad: list[bytes] = []
    unnamed = 0
    for number in range(1_200):
        id_ = str(uuid4())
        if number % 7:
            good.append(item_of(OneRun().defer(receipt_to=RECEIPTS), id_))
        elif number % 3:
            bad.append(item_of(OneRun().defer(receipt_to=RECEIPTS, attempt=number % 2 - 1), id_))
        else:
            unnamed += 1
    burst = [*good, *bad, *[b"not a message"] * unnamed]
    burst.sort(key=hash)
    run(at.redis, *[("LPUSH", at.keys.queue("deferrals"), raw) for raw in burst])

    def answered() -> int:
        return int(str(run(at.redis, ("LLEN", at.keys.queue(RECEIPTS)))[0]))

    with drained(settings):
        wait_until(lambda: answered() >= len(good) + len(bad), seconds=60)

    told = [type(reply) for reply in message_door.replies(RECEIPTS)]
    assert (told.count(Taken), len(told)) == (len(good), len(good) + len(bad))
    assert sql_door.counts()[0] == len(good)
    assert len(message_door.rejections()) == len(bad) + unnamed


def _second_wait_of(wait: Defer) -> Defer:
    door, fields = OneRun().defer(2)
    return struct_of((door, fields | {"run_id": wait.run_id}))


def _completion(wait: Defer) -> Complete:
    return struct_of(("complete", {"v": 1, "dependency_id": wait.dependency.id, "outcome_type": OutcomeType.SUCCESS}))

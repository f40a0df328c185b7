"""Batches at one moment: two last items, the last item and the wait, the seal, the growth. Real connections."""

from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from at_once import at_once
from batches import a_batch, ended, grown, name_of, sealed
from by_hand import ByHand

from shared.client import Checkpoints
from shared.db import dependencies
from shared.db.dependencies import Completions
from shared.messages import Defer, Resume
from shared.post import envelope
from shared.queues import RESUMES, TaskName
from shared.vocabulary import Mode
from workers.node.node import Node

ROUNDS = 30
DELIVERIES = 5
NOBODY = 2**31 - 1  # no process has this pid


@pytest.fixture
def hand(node: Node, client: Checkpoints) -> ByHand:
    """A system whose workers act when they are told to."""
    return ByHand(node, client)


def test_of_two_last_items_at_once_one_ends_the_wait(hand: ByHand) -> None:
    """Vector 26: both are counted, one of the two transactions sees that all are done, and it alone resumes."""
    for _ in range(ROUNDS):
        wait = a_wait(hand, "a", "b")

        answers = at_once(partial(complete, hand, ended(wait, "a")), partial(complete, hand, ended(wait, "b")))

        assert sorted(one.completed for one in answers) == [[], [name_of(wait)]]
        assert sorted((one.answers[0].first, one.answers[0].open_items) for one in answers) == [(True, 0), (True, 1)]


def test_a_last_item_that_comes_five_times_at_once_is_counted_once(hand: ByHand) -> None:
    """Vector 26, doubled: one delivery is the first and ends the wait; with another item open none ends it."""
    for is_last in (True, False) * (ROUNDS // 3):
        wait = a_wait(hand, "a") if is_last else a_wait(hand, "a", "b")

        answers = at_once(*[partial(complete, hand, ended(wait, "a"))] * DELIVERIES)

        assert [one.answers[0].first for one in answers].count(True) == 1
        assert [one.completed for one in answers].count([name_of(wait)]) == int(is_last)
        assert {one.answers[0].open_items for one in answers} == {0 if is_last else 1}


def test_a_wait_and_its_last_item_at_once_always_meet(hand: ByHand) -> None:
    """Whichever comes second finds the other: the wait is resumed once, with the item's outcome."""
    for number in range(ROUNDS):
        wait = a_batch("a", "b", workload=workload(hand))
        complete(hand, ended(wait, "a"))

        said, answer = at_once(partial(defer, hand, wait), partial(complete, hand, ended(wait, "b", outcome=number)))

        assert isinstance(answer, Completions)
        assert said.complete is (answer.completed == [])
        hand.resume_worker(*([] if said.complete else [hint(wait)]))
        heard = hand.continuations()[-1]
        assert (heard.dependency_id, heard.mode, len(hand.continuations())) == (name_of(wait), Mode.LIVE, number + 1)
        assert heard.outcomes is not None
        assert heard.outcomes["b"].value == number


def test_a_seal_and_a_last_item_at_once_end_the_wait_once(hand: ByHand) -> None:
    """The second of the two sees the first, so exactly one of them ends it."""
    for _ in range(ROUNDS):
        wait = a_wait(hand, "a", sealed=False)

        answers = at_once(partial(complete, hand, ended(wait, "a")), partial(complete, hand, sealed(wait)))

        assert sorted(one.completed for one in answers) == [[], [name_of(wait)]]


def test_growth_and_a_seal_at_once_come_one_after_the_other(hand: ByHand) -> None:
    """Added before the seal it has to end too; after it, it is refused; never is the wait over with it open."""
    for _ in range(ROUNDS):
        wait = a_wait(hand, "a", sealed=False)
        complete(hand, ended(wait, "a"))

        growth, seal = at_once(partial(complete, hand, grown(wait, ["b"])), partial(complete, hand, sealed(wait)))

        refused = growth.answers[0].refused
        if refused is None:
            assert (growth.completed, seal.completed) == ([], [])
            assert complete(hand, ended(wait, "b")).completed == [name_of(wait)]
        else:
            assert refused.code == "batch-sealed"
            assert seal.completed == [name_of(wait)]


def test_items_of_many_batches_in_opposite_orders_do_not_wait_for_each_other(hand: ByHand) -> None:
    """Two workers with the same batches in opposite orders both end: rows are locked in one order."""
    for _ in range(ROUNDS // 10):
        waits = [a_wait(hand, "a", "b") for _ in range(20)]

        answers = at_once(
            partial(complete, hand, *(ended(wait, "a") for wait in waits)),
            partial(complete, hand, *(ended(wait, "b") for wait in reversed(waits))),
        )

        assert sorted(id_ for one in answers for id_ in one.completed) == sorted(map(name_of, waits))


def test_the_limit_of_an_unsealed_batch_and_its_seal_at_once_end_it_once(hand: ByHand) -> None:
    """A sweep that finds it too old meets the seal: success or timed out, and what came second changes nothing."""
    for _ in range(ROUNDS // 3):
        wait = a_wait(hand, "a", sealed=False)
        grow_old(hand, wait)

        last = ended(wait, "a", sealed=True)
        _, answer = at_once(hand.sweeper, partial(complete, hand, last))

        assert isinstance(answer, Completions)
        is_in_time = answer.completed == [name_of(wait)]
        hand.resume_worker(hint(wait))
        with hand.at.pool.connection() as conn:
            (row,) = dependencies.to_continue(conn, [name_of(wait)])
        assert row.outcome_type == ("success" if is_in_time else "timed_out")
        assert row.batch_outcomes == {"a": {"type": row.outcome_type, "value": None}}


def a_wait(hand: ByHand, *items: str, sealed: bool | None = None) -> dict[str, Any]:
    """Register a wait for a batch, of a run without a process."""
    wait = a_batch(*items, sealed=sealed, workload=workload(hand))
    defer(hand, wait)
    return wait


def workload(hand: ByHand) -> dict[str, Any]:
    """Return a workload of the test's node."""
    return {"engine": "simulate", "node": hand.node.name, "pid": NOBODY, "started_at_ticks": 1}


def defer(hand: ByHand, wait: dict[str, Any]) -> Any:
    """Register a wait with the client."""
    return hand.client.defer(msgspec.convert(wait, Defer))


def complete(hand: ByHand, *messages: dict[str, Any]) -> Completions:
    """Complete as the resume worker does, in a transaction of its own."""
    with hand.at.pool.connection() as conn, conn.transaction():
        return dependencies.complete(conn, map(msgspec.json.encode, messages), how="resume")


def hint(wait: dict[str, Any]) -> bytes:
    """Return the message that asks the resume worker to look at a wait."""
    return envelope(TaskName.RESUME, Resume(v=1, dependency_id=name_of(wait)), task_id=str(uuid4()), queue=RESUMES)


def grow_old(hand: ByHand, wait: dict[str, Any]) -> None:
    """Make a wait so old that its batch should have been sealed."""
    with hand.at.pool.connection() as conn:
        conn.execute(
            "UPDATE dependency SET registered_at = registered_at - interval '1 hour', look_at = now() WHERE id = %s",
            [name_of(wait)],
        )

"""Many at one moment: completions of one wait, workers on one checkpoint, the countdown and the wait's end."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from at_once import at_once
from by_hand import ByHand, completion_of, first_take, kwargs_of
from runs import Run
from upstream import dependency_id

from shared.db import dependencies
from shared.vocabulary import Mode
from workers.checkpoint.take import Taken, take

ROUNDS = 20
DELIVERIES = 5


@pytest.fixture
def engine_script() -> str:
    """Leave one line for each call of the engine."""
    return "echo call >> calls"


def test_a_completion_that_comes_five_times_at_once_resumes_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 6: five resume workers at one moment: one sets `resumed_at`, all send the one continuation there is."""
    run = a_run()
    hand.wait_for_task(run)

    at_once(*[lambda: hand.resume_worker(completion_of(run)) for _ in range(DELIVERIES)])

    sent = hand.continuations()
    assert {(one.continuation_id, one.mode, one.resumed_at) for one in sent} == {
        (sent[0].continuation_id, Mode.LIVE, hand.wait_row(run)["resumed_at"])
    }
    claims = [hand.client.claim(one.continuation_id) for one in sent]
    assert claims.count(True) == 1
    assert hand.client.done(sent[0].continuation_id)


def test_of_completions_at_once_one_is_the_first(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 6, the rows: of five transactions with the same completion exactly one completes and resumes the wait."""
    run = a_run()
    hand.wait_for_task(run)
    body = kwargs_of(completion_of(run))

    def complete() -> dependencies.Completions:
        with hand.at.pool.connection() as conn, conn.transaction():
            return dependencies.complete(conn, [body], how="resume")

    answers = at_once(*[complete] * DELIVERIES)

    assert sum(len(answer.completed) for answer in answers) == 1
    assert [answer.answers[0].first for answer in answers].count(True) == 1


def test_a_countdown_and_the_waits_end_at_once_come_to_one_ending(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 40: never frozen away and live, or frozen away and restored: one of the two, and the run goes on."""
    run = a_run()
    for number in range(1, ROUNDS + 1):
        hand.wait_for_task(run, number, delay_ms=0)
        due, over = first_take(run, number), completion_of(run, number)

        taken, _ = at_once(partial(take, hand.node, due), partial(hand.resume_worker, over))
        hand.checkpoint_worker()  # the restore, if there is one

        expected = Mode.RESTORED if taken is Taken.ACCEPTED else Mode.LIVE
        assert {one.mode for one in hand.continuations() if one.wait_number == number} == {expected}
        assert run.goes_on()
        assert hand.client.done(dependency_id(run.id, number))


def test_two_workers_with_one_due_checkpoint_call_the_engine_once(
    hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 42: the same message for two workers at one moment, and once more later: one of them takes it."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    due = first_take(run)

    taken = at_once(partial(take, hand.node, due), partial(take, hand.node, due))

    assert take(hand.node, due) is Taken.NOTHING_TO_DO
    assert taken.count(Taken.ACCEPTED) == 1
    assert {*taken} <= {Taken.ACCEPTED, Taken.BUSY, Taken.NOTHING_TO_DO}
    assert (engine_folder / "calls").read_text().splitlines() == ["call"]

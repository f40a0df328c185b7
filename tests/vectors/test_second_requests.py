"""Requests that come beside or after what they are about: a second wait, a wait for what is over already."""

from collections.abc import Callable

import pytest
from by_hand import LATER, ByHand
from runs import Run
from upstream import a_completion, dependency_id

from shared.client import Cancel, CancelCause, Refused
from shared.vocabulary import CancelReason, Mode
from workers.checkpoint.take import Taken


def test_a_second_wait_of_a_waiting_run_is_refused_and_the_first_goes_on(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 12: the second is told why; the first one's row and countdown are what they were, and it is taken."""
    run = a_run()
    hand.wait_for_task(run, 1, delay_ms=5_000)
    before = hand.wait_row(run, 1), hand.held()
    assert len(hand.held()) == 1

    with pytest.raises(Refused) as refused:
        hand.wait_for_task(run, 2, delay_ms=0)

    assert refused.value.code == "checkpoint-in-progress"
    assert hand.wait_row(run, 2) == {}
    assert (hand.wait_row(run, 1), hand.held()) == before
    hand.time_passes(run, seconds=5)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]


def test_a_cancel_stops_the_checkpoint_of_the_first_wait_which_still_ends_live(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 12, the cancel: it stops the wait that was accepted, not the one that was refused; that ends live."""
    run = a_run()
    hand.wait_for_task(run, 1, delay_ms=5_000)
    with pytest.raises(Refused):
        hand.wait_for_task(run, 2, delay_ms=0)
    assert len(hand.held()) == 1

    cancel = Cancel(v=1, run_id=run.id, wait_number=1, reason=CancelCause(CancelReason.MANUAL))
    answers = [hand.client.cancel(cancel) for _ in range(2)]

    assert [answer.called_off for answer in answers if answer] == [True, False]
    assert hand.held() == []
    hand.time_passes(run, seconds=5)
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == []
    assert hand.checkpoint_row(run) is None
    hand.complete(run, 1)
    assert hand.continuation().mode is Mode.LIVE
    assert run.runs


def test_a_wait_for_what_is_over_already_gets_no_checkpoint(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 39: the child was final before the wait began: it is said at once, nothing is scheduled, live at once."""
    run = a_run()
    hand.client.complete(a_completion(run.id, outcome="early"))

    answer = hand.wait_for_task(run, delay_ms=5_000)

    assert (answer.complete, answer.will_checkpoint, answer.why) == (True, False, "already-complete")
    assert hand.held() == []
    hand.resume_worker()
    heard = hand.continuation()
    assert heard.mode is Mode.LIVE
    assert heard.outcomes is not None
    assert heard.outcomes[dependency_id(run.id, 1)].value == "early"
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == []
    assert hand.checkpoint_row(run) is None

"""A restore that is asked for twice happens once; one that gets lost is asked for again."""

from collections.abc import Callable
from functools import partial

from at_once import at_once
from by_hand import LATER, ByHand
from runs import Run
from upstream import dependency_id

from shared.messages import Restore
from shared.vocabulary import Mode
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken

LOSSES = 3


def test_a_restore_that_is_requested_twice_at_once_happens_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 30: two workers with the same request at one moment, and a third later: one restore, one continuation."""
    run = a_frozen_run_whose_wait_ended(hand, a_run)
    request = Restore(v=1, dependency_id=dependency_id(run.id, 1), run_id=run.id, wait_number=1)

    ended = at_once(partial(restore, hand.node, request), partial(restore, hand.node, request))

    assert ended.count(Restored.RESTORED) == 1
    assert {*hand.checkpoint_worker()} == {Restored.NOTHING_TO_DO}
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["restores"]) == ("restored", 1)
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


def test_a_restore_that_is_lost_is_asked_for_again_and_again(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 30, lost on the way: nobody heard the request, nor its repeats; it is never dropped."""
    run = a_frozen_run_whose_wait_ended(hand, a_run)
    for loss in range(1, LOSSES + 1):
        hand.lose_messages()
        assert run.stands
        hand.sweeper(ahead=LATER * loss)

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


def a_frozen_run_whose_wait_ended(hand: ByHand, a_run: Callable[[], Run]) -> Run:
    """Start a run, have its checkpoint accepted and its wait ended; the request for its restore was sent."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)
    assert hand.continuations() == []
    return run

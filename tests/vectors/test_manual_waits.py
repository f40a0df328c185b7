"""MANUAL waits: without a time one waits for its checkpoint alone, and ends when it is known what became of that."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from by_hand import LATER, AtEffect, ByHand
from runs import Run
from upstream import dependency_id

from shared.client import Cancel, CancelCause, Dependency
from shared.vocabulary import CancelReason, Mode, WaitReason
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


def test_a_manual_wait_without_a_time_is_restored_as_soon_as_it_is_accepted(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 20: frozen, and brought back in the next turn of all workers; nobody completes it, no time passes."""
    run = a_run()
    said = hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL)
    assert said.will_checkpoint
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.stands

    hand.sweeper()
    hand.resume_worker()

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert (hand.continuation().mode, hand.continuation().outcomes) == (Mode.RESTORED, {})
    assert run.goes_on()
    nothing_is_left(hand, run)


def test_a_manual_wait_without_a_time_ends_when_its_checkpoint_can_never_be_taken(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 20, closed as failed: the process is gone, so no try is left; its upstream hears that it may go on."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL)
    run.end()

    assert hand.checkpoint_worker() == [Taken.FAILED]
    hand.sweeper()
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    nothing_is_left(hand, run)


@pytest.mark.parametrize("reason", [CancelReason.MANUAL, CancelReason.WORKLOAD_DISCONNECTED])
def test_a_manual_wait_without_a_time_ends_when_its_checkpoint_is_called_off_meanwhile(
    reason: CancelReason, hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """Vector 20, closed as refused: called off while it was taken, the run goes on live."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL)
    at_effect("take.stored", lambda: hand.client.cancel(a_call_off(run, reason)))

    assert hand.checkpoint_worker() == [Taken.REFUSED]
    hand.sweeper()
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    assert run.goes_on()
    nothing_is_left(hand, run)


@pytest.mark.parametrize("reason", [CancelReason.MANUAL, CancelReason.WORKLOAD_DISCONNECTED])
def test_a_manual_wait_without_a_time_ends_when_its_checkpoint_is_called_off_in_the_delay(
    reason: CancelReason, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 20, never begun: the run was not touched, and goes on."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=30_000, reason=WaitReason.MANUAL)

    hand.client.cancel(a_call_off(run, reason))
    hand.sweeper()
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    assert (hand.checkpoint_row(run), hand.held()) == (None, [])
    nothing_is_left(hand, run)


def test_a_manual_wait_with_a_time_is_frozen_until_then(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Its acceptance does not end it: the time does."""
    run = a_run()
    resume_at = datetime.now(UTC) + timedelta(hours=1)
    dependency = Dependency(dependency_id(run.id, 1), resume_at=resume_at)
    hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL, dependency=dependency)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.sweeper(ahead=LATER)
    hand.resume_worker()
    assert hand.checkpoint_worker() == []
    assert run.stands

    hand.sweeper(at=resume_at)
    hand.resume_worker()
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert run.goes_on()


def a_call_off(run: Run, reason: CancelReason) -> Cancel:
    """Return what calls off the checkpoint of a run's first wait."""
    return Cancel(v=1, run_id=run.id, wait_number=1, reason=CancelCause(reason))


def nothing_is_left(hand: ByHand, run: Run) -> None:
    """Check that the wait is settled once its run has gone on."""
    assert hand.client.done(dependency_id(run.id, 1))
    hand.sweeper(ahead=LATER)
    hand.resume_worker()
    hand.checkpoint_worker()
    row = hand.checkpoint_row(run)
    assert row is None or row["look_at"] is None
    assert hand.wait_row(run)["look_at"] is None
    assert len(hand.continuations()) == 1

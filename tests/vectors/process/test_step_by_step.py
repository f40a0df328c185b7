"""Runs that are really frozen away, by workers that act when they are told to: what stands between two steps."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from at_once import at_once
from by_hand import LATER, AtEffect, ByHand, Ended
from criu import stored_in
from process_runs import CountingRun
from upstream import dependency_id
from waiting import wait_until

from shared.client import Cancel, CancelCause
from shared.messages import Restore
from shared.settings import Settings
from shared.vocabulary import CancelReason, Mode, WaitReason
from tests.vectors.process.conftest import GATED, Gate
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken

StartRun = Callable[[], CountingRun]


class Died(BaseException):
    """Stands for the end of a worker in the middle of a story."""


def die() -> None:
    """End a story here."""
    raise Died


def swept_and_worked(hand: ByHand) -> list[Ended]:
    """Sweep, and handle what came of it; by the real clock, which leases and gaps go by."""
    hand.sweeper()
    return hand.checkpoint_worker()


@pytest.fixture
def a_frozen_run(hand: ByHand, a_counting_run: StartRun) -> CountingRun:
    """A run that is frozen away."""
    run = a_counting_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.is_gone
    return run


@pytest.mark.parametrize("first", ["its restore", "a sweep's take"])
def test_whoever_comes_first_ends_the_old_process(
    hand: ByHand, settings: Settings, a_counting_run: StartRun, at_effect: AtEffect, first: str
) -> None:
    """Vector 5: accepted, then the worker died, and no agent is there to help."""
    run = a_counting_run()
    old = run.workload
    hand.wait_for_task(run, delay_ms=0)
    at_effect("take.offered", die)
    with pytest.raises(Died):
        hand.checkpoint_worker()
    run.assert_stands()

    if first == "a sweep's take":
        hand.sweeper(ahead=LATER)
        assert hand.checkpoint_worker() == [Taken.DUTY_DONE]
        assert run.is_gone
    hand.complete(run)
    assert hand.checkpoint_worker() == [Restored.RESTORED]

    heard = hand.continuation()
    assert heard.workload != old.to_json()
    run.went_on(heard)
    assert stored_in(settings) == []


@pytest.mark.parametrize("script", [GATED], ids=["a gate"])
def test_a_time_that_ends_during_the_dump_goes_on_live(
    hand: ByHand, settings: Settings, a_counting_run: StartRun, gate: Gate
) -> None:
    """Vector 18: by the sweeper's clock alone; the image that comes of it is none."""
    run = a_counting_run()
    resume_at = hand.wait_for_time(run, seconds=3_600)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(hand.checkpoint_worker)
        gate.wait()
        run.assert_stands()

        hand.sweeper(at=resume_at)
        hand.resume_worker()
        gate.open()

        assert taken.result() == [Taken.REVOKED]
    run.assert_runs()
    assert (hand.continuation().mode, hand.continuation().outcomes) == (Mode.LIVE, {})
    assert stored_in(settings) == []


def test_a_manual_wait_without_a_time_is_restored_as_soon_as_it_is_frozen(
    hand: ByHand, settings: Settings, a_counting_run: StartRun
) -> None:
    """Vector 20: its process is gone, and comes back in the next turn of all workers."""
    run = a_counting_run()
    hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.is_gone

    hand.sweeper()
    hand.resume_worker()

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    run.went_on(hand.continuation())
    assert stored_in(settings) == []


@pytest.mark.parametrize("script", [GATED], ids=["a gate"])
def test_a_run_that_crashes_in_the_dump_leaves_nothing(
    hand: ByHand, settings: Settings, a_counting_run: StartRun, gate: Gate
) -> None:
    """Vector 24: another try finds it gone, and no further one comes; its platform hears nothing, since it knows."""
    run = a_counting_run()
    hand.wait_for_task(run, delay_ms=0)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(hand.checkpoint_worker)
        gate.wait()
        run.end()
        gate.open()
        assert taken.result() == [Taken.RETRIED]
    wait_until(lambda: Taken.FAILED in swept_and_worked(hand))
    crashed = CancelCause(type=CancelReason.RUN_CRASHED)
    hand.client.cancel(Cancel(v=1, run_id=run.id, reason=crashed))

    hand.sweeper(ahead=LATER)
    hand.resume_worker()

    assert hand.checkpoint_worker() == []
    assert (hand.continuations(), hand.out_of_reach()) == ([], [])
    assert stored_in(settings) == []


def test_a_restore_that_is_requested_twice_at_once_makes_one_process(
    hand: ByHand, settings: Settings, a_frozen_run: CountingRun
) -> None:
    """Vector 30: two workers with the same request at one moment, and a third later: it counts once."""
    hand.complete(a_frozen_run)
    request = Restore(v=1, dependency_id=dependency_id(a_frozen_run.id, 1), run_id=a_frozen_run.id, wait_number=1)

    ended = at_once(partial(restore, hand.node, request), partial(restore, hand.node, request))

    assert ended.count(Restored.RESTORED) == 1
    assert {*hand.checkpoint_worker()} == {Restored.NOTHING_TO_DO}
    a_frozen_run.went_on(hand.continuation())
    assert stored_in(settings) == []


def test_a_process_whose_restore_was_never_heard_of_again_is_brought_back_once(
    hand: ByHand, settings: Settings, a_frozen_run: CountingRun, at_effect: AtEffect
) -> None:
    """Vector 31: the worker died with a process in its hands that nobody permitted; it never runs, another does."""
    hand.complete(a_frozen_run)
    at_effect("restore.held", die)
    with pytest.raises(Died):
        hand.checkpoint_worker()
    assert hand.continuations() == []

    wait_until(lambda: Restored.RESTORED in swept_and_worked(hand))

    a_frozen_run.went_on(hand.continuation())
    assert stored_in(settings) == []

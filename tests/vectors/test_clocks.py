"""Times are Postgres' alone: no worker's clock ends a wait or takes a checkpoint early."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from by_hand import LATER, ByHand, first_take
from runs import Run

from shared.vocabulary import Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken, take

HOUR = timedelta(hours=1)
MOMENT = timedelta(milliseconds=1)


class AnHourFast(datetime):
    """The clock of a machine that was stepped by an hour."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the wrong time."""
        return super().now(tz) + HOUR


class AnHourSlow(datetime):
    """The clock of a machine that is an hour behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return the wrong time."""
        return super().now(tz) - HOUR


@pytest.fixture(params=[datetime, AnHourFast, AnHourSlow])
def any_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time is by the clock of the process that sends: every eta is made by it."""
    monkeypatch.setattr("shared.post.datetime", request.param)


@pytest.mark.usefixtures("any_clock")
def test_a_frozen_run_that_waits_for_a_time_is_restored_at_that_time(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 17: accepted meanwhile, not restored a moment earlier, restored then, by whatever clock messages are."""
    run = a_run()
    resume_at = hand.wait_for_time(run, seconds=45, delay_ms=8_000)
    hand.time_passes(run, seconds=8)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.sweeper(at=resume_at - MOMENT)
    hand.resume_worker()
    assert hand.checkpoint_worker() == []
    assert hand.wait_row(run)["completed_at"] is None
    assert run.stands

    hand.sweeper(at=resume_at)
    hand.resume_worker()
    assert hand.wait_row(run)["completed_at"] == resume_at
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert (hand.continuation().mode, hand.continuation().outcomes) == (Mode.RESTORED, {})
    assert run.goes_on()


def test_a_time_that_is_over_long_ago_is_restored_at_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 17, running late: a sweeper that comes an hour after the time brings the run back in that turn."""
    run = a_run()
    resume_at = hand.wait_for_time(run, seconds=45)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.sweeper(at=resume_at + HOUR)
    hand.resume_worker()

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert run.goes_on()


def test_a_take_that_comes_an_hour_early_is_put_back_for_the_rest(
    hand: ByHand, a_run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vector 49: the sender's clock is an hour behind, so its countdown is over at once: nothing is touched early."""
    run = a_run()
    with monkeypatch.context() as wrong:
        wrong.setattr("shared.post.datetime", AnHourSlow)
        hand.wait_for_task(run, delay_ms=60_000)
    (due,) = hand.held()
    assert due < datetime.now(UTC)

    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.EARLY]

    assert run.runs
    assert hand.checkpoint_row(run) is None
    (due,) = hand.held()
    assert abs(due - hand.wait_row(run)["due_at"]) < timedelta(seconds=10)
    hand.time_passes(run, seconds=60)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]


def test_a_countdown_that_is_an_hour_too_long_is_replaced_by_a_sweep(
    hand: ByHand, a_run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vector 49, the other way: the sender's clock was stepped ahead: the take comes late by the sweeper's grace."""
    run = a_run()
    with monkeypatch.context() as wrong:
        wrong.setattr("shared.post.datetime", AnHourFast)
        hand.wait_for_task(run, delay_ms=5_000)
    assert len(hand.held()) == 1

    hand.time_passes(run, seconds=5)
    hand.sweeper(ahead=LATER)

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    # The late one finds nothing to do.
    assert take(hand.node, first_take(run)) is Taken.NOTHING_TO_DO

"""Calling off, as stories: of nothing, of an old wait beside a new one, of a child, of a process that died."""

from collections.abc import Callable

import pytest
from by_hand import LATER, ByHand, first_take
from runs import Run
from upstream import dependency_id

from shared.client import Cancel, CancelCause, Complete
from shared.db.deferrals import CancelAnswer
from shared.messages import Take
from shared.vocabulary import CancelReason, Mode, OutcomeType
from workers.checkpoint.take import Taken, take

NOTHING = CancelAnswer(called_off=False, wait_ended=False)
CALLED_OFF = CancelAnswer(called_off=True, wait_ended=False)
ENDED = CancelAnswer(called_off=False, wait_ended=True)


def test_a_cancel_of_nothing_is_false_and_a_second_one_too(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 13: false where nothing is pending; true once where something is, then false."""
    run = a_run()
    assert hand.client.cancel(a_cancel(run, CancelReason.MANUAL, 1)) == NOTHING
    assert hand.client.cancel(a_cancel(run, CancelReason.RUN_CRASHED, 1)) == NOTHING

    hand.wait_for_task(run, 2)

    assert [hand.client.cancel(a_cancel(run, CancelReason.MANUAL, 2)) for _ in range(2)] == [CALLED_OFF, NOTHING]
    assert [hand.client.cancel(a_cancel(run, CancelReason.RUN_CRASHED, 2)) for _ in range(2)] == [ENDED, NOTHING]


@pytest.mark.parametrize("is_token_lost", [False, True])
@pytest.mark.parametrize("reason", [CancelReason.MANUAL, CancelReason.RUN_CANCELLED])
def test_what_is_left_of_an_old_wait_never_touches_a_new_one(
    reason: CancelReason,
    is_token_lost: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """Vector 14: neither A's timer nor its token nor a late repeat of its cancel; B is taken when B is due."""
    run = a_run()
    hand.wait_for_task(run, 1, delay_ms=10_000)
    hand.client.cancel(a_cancel(run, reason, 1))
    hand.complete(run, 1)
    hand.wait_for_task(run, 2, delay_ms=10_000)
    due = hand.wait_row(run, 2)["due_at"]

    assert hand.client.cancel(a_cancel(run, reason, 1)) == NOTHING
    if is_token_lost:
        hand.lose_messages()
    hand.time_passes(run, seconds=10, number=1)
    late = take(hand.node, first_take(run, 1)), take(hand.node, swept_take(run, 1))

    assert late == (Taken.NOTHING_TO_DO if is_token_lost else Taken.REVOKED_IN_DELAY, Taken.NOTHING_TO_DO)
    assert run.runs
    assert hand.checkpoint_row(run, 1) is None
    assert hand.wait_row(run, 2)["due_at"] == due
    assert take(hand.node, swept_take(run, 2)) is Taken.EARLY
    hand.time_passes(run, seconds=10, number=2)
    assert take(hand.node, first_take(run, 2)) is Taken.ACCEPTED
    assert run.stands


@pytest.mark.parametrize("reason", [CancelReason.RUN_CANCELLED, CancelReason.RUN_COMPLETED, CancelReason.RUN_CRASHED])
def test_the_delay_of_a_run_that_is_over_ends_without_a_checkpoint(
    reason: CancelReason, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vectors 22 to 24: cancelled, completed or crashed in the delay: no row, nothing fires, also by a late message."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=30_000)

    assert hand.client.cancel(a_cancel(run, reason)) == ENDED

    assert hand.held() == []
    hand.time_passes(run, seconds=30)
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == []
    assert take(hand.node, swept_take(run, 1)) is Taken.NOTHING_TO_DO
    assert (hand.checkpoint_row(run), hand.continuations()) == (None, [])
    assert run.goes_on()


def test_the_parent_of_a_run_that_is_cancelled_goes_on_with_that(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 22: the child waits itself and is frozen; cancelled, it is let go, and its parent is resumed."""
    parent, child = a_run(), a_run()
    hand.wait_for_task(parent)
    hand.wait_for_task(child, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.client.cancel(a_cancel(child, CancelReason.RUN_CANCELLED))
    hand.client.complete(Complete(v=1, dependency_id=dependency_id(parent.id, 1), outcome_type=OutcomeType.CANCELLED))
    hand.resume_worker()
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == [Taken.DUTY_DONE]

    heard = hand.continuations()[0]
    assert {one.run_id for one in hand.continuations()} == {parent.id}
    assert heard.mode is Mode.LIVE
    assert heard.outcomes is not None
    assert heard.outcomes[dependency_id(parent.id, 1)].type == OutcomeType.CANCELLED
    assert child.goes_on()


def test_a_take_of_a_process_that_died_fails_and_is_not_tried_again(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 24, before anybody says so: no retry can mend it; the wait stays open until its run is called over."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    run.end()

    assert hand.checkpoint_worker() == [Taken.FAILED]

    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["look_at"]) == ("failed", None)
    assert hand.client.cancel(a_cancel(run, CancelReason.RUN_CRASHED)) == ENDED
    hand.sweeper(ahead=LATER)
    assert (hand.checkpoint_worker(), hand.continuations()) == ([], [])


def test_a_higher_attempt_ends_what_the_lower_one_had_frozen(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Superseded: let go and discarded, no continuation; the higher attempt's own wait is frozen and restored."""
    old, new = a_run(), a_run()
    new.id = old.id
    hand.wait_for_task(old, 1, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.wait_for_task(new, 2, attempt=2, delay_ms=0)
    hand.sweeper(ahead=LATER)
    assert {*hand.checkpoint_worker()} >= {Taken.ACCEPTED, Taken.DUTY_DONE}

    assert old.goes_on()
    assert new.stands
    assert hand.wait_row(old, 1)["cancel_reason"] == "SUPERSEDED"
    hand.complete(old, 1)
    hand.complete(new, 2)
    hand.checkpoint_worker()
    heard = hand.continuation()
    assert (heard.attempt, heard.wait_number, heard.mode) == (2, 2, Mode.RESTORED)


def test_a_late_end_of_an_attempt_never_touches_the_next(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Said again and again: in the delay of attempt 2, while it is frozen, and when it has gone on."""
    run = a_run()
    hand.wait_for_task(run, 1, delay_ms=30_000)
    over = Cancel(v=1, run_id=run.id, attempt=1, reason=CancelCause(CancelReason.ATTEMPT_OVER))
    assert [hand.client.cancel(over) for _ in range(2)] == [ENDED, NOTHING]

    hand.wait_for_task(run, 2, attempt=2, delay_ms=30_000)
    assert hand.client.cancel(over) == NOTHING
    assert len(hand.held()) == 1
    hand.time_passes(run, seconds=30, number=2)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert hand.client.cancel(over) == NOTHING
    hand.sweeper(ahead=LATER)
    hand.checkpoint_worker()
    assert run.stands
    hand.complete(run, 2)
    hand.checkpoint_worker()
    assert hand.client.cancel(over) == NOTHING
    assert (hand.continuation().attempt, hand.continuation().mode) == (2, Mode.RESTORED)
    assert run.goes_on()


def a_cancel(run: Run, reason: CancelReason, number: int | None = None) -> Cancel:
    """Return a cancel of a run, or of a wait of it."""
    return Cancel(v=1, run_id=run.id, wait_number=number, reason=CancelCause(reason))


def swept_take(run: Run, number: int) -> Take:
    """Return the take of a wait, as a sweep sends it: no token ends it."""
    return Take(v=1, dependency_id=dependency_id(run.id, number), run_id=run.id, wait_number=number)

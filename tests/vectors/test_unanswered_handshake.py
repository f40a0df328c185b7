"""A handshake that is not answered in time: no checkpoint, and the run lives."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from by_hand import ByHand
from handshakes import a_take, next_wait_is_frozen, patience, status, time_to_answer_ends
from runs import Run

from shared.vocabulary import Mode, WaitReason
from workers.checkpoint.take import Taken, take


def test_a_run_that_never_says_that_it_is_ready_goes_on_live(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 15: its time to answer ends: no checkpoint, no engine call, a live resume; the next wait is frozen."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    (due,) = hand.held()
    assert due <= datetime.now(UTC) + patience(hand)

    time_to_answer_ends(hand, run)
    hand.let_countdowns_end()

    assert hand.checkpoint_worker() == [Taken.UNANSWERED]
    row = status(hand, run)
    assert (row["status"], row["look_at"], row["epoch"], row["tries"]) == ("failed", None, 0, 0)
    assert "checkpoint.ready" in row["error"]
    assert run.goes_on()
    assert hand.client.ready(run.id, 1) is False
    hand.complete(run)
    assert hand.continuation().mode is Mode.LIVE

    next_wait_is_frozen(hand, run)


def test_an_answer_that_comes_too_late_freezes_nobody(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 15: later than `answer_by`, also before anybody has closed the row."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    time_to_answer_ends(hand, run)

    assert hand.client.ready(run.id, 1) is False

    hand.sweeper()
    assert hand.checkpoint_worker() == [Taken.UNANSWERED]
    assert run.goes_on()


def test_a_question_that_is_lost_costs_a_checkpoint_and_nothing_else(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Nobody can answer what nobody heard; a sweep closes the row although the countdown is lost too."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    hand.lose_messages()
    time_to_answer_ends(hand, run)

    hand.sweeper()

    assert hand.checkpoint_worker() == [Taken.UNANSWERED]
    assert run.goes_on()
    hand.complete(run)
    assert hand.continuation().mode is Mode.LIVE
    next_wait_is_frozen(hand, run)


def test_a_take_that_comes_twice_asks_twice_and_for_the_same_time(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """The worker of the first may have died before it asked; the run has no more time for that."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]

    assert take(hand.node, a_take(run)) is Taken.ASKED

    first, second = hand.questions()
    assert first == second
    assert len(hand.held()) == 1


def test_a_manual_wait_without_a_time_ends_with_its_unanswered_handshake(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Nobody would end it otherwise: it goes on live once it is known that no checkpoint comes."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True, reason=WaitReason.MANUAL)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    hand.sweeper(ahead=timedelta(seconds=1))
    assert hand.wait_row(run)["completed_at"] is None

    time_to_answer_ends(hand, run)
    hand.sweeper()
    assert hand.checkpoint_worker() == [Taken.UNANSWERED]
    hand.sweeper()
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    assert run.goes_on()

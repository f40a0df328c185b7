"""The handshake: a run that wants it is asked before it is frozen, in its own time; what is not answered is let be."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from by_hand import LATER, AtEffect, ByHand
from handshakes import a_take, next_wait_is_frozen, patience, state_of, status, time_to_answer_ends
from runs import Run
from upstream import dependency_id

from shared.client import Cancel, CancelCause
from shared.db import runs
from shared.db.deferrals import CancelAnswer
from shared.settings import Settings
from shared.vocabulary import CancelReason, Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken, take


def test_a_run_is_frozen_once_it_has_said_that_it_is_ready(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Asked where its continuation would go, with the time that it has; until it answers, it is not touched."""
    run = a_run()
    said = hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert (said.will_checkpoint, said.why) == (True, None)

    assert hand.checkpoint_worker() == [Taken.ASKED]

    (question,) = hand.questions()
    assert (question.run_id, question.attempt, question.wait_number) == (run.id, 1, 1)
    assert question.dependency_id == dependency_id(run.id, 1)
    assert question.answer_by == status(hand, run)["due_at"] <= datetime.now(UTC) + patience(hand)
    assert status(hand, run)["status"] == "deferred"
    assert run.goes_on()

    assert hand.client.ready(run.id, 1) is True

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.stands
    hand.complete(run)
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize(
    "reason", [CancelReason.MANUAL, CancelReason.WORKLOAD_DISCONNECTED, CancelReason.RUN_CANCELLED]
)
def test_a_cancel_calls_a_handshake_off(
    reason: CancelReason,
    is_answered: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """Vector 16: with its typed answer; nobody is frozen, an answer changes nothing, the next wait is frozen."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    if is_answered:
        assert hand.client.ready(run.id, 1) is True
    ends_wait = reason is CancelReason.RUN_CANCELLED

    cancel = Cancel(v=1, run_id=run.id, wait_number=1, reason=CancelCause(reason))
    assert hand.client.cancel(cancel) == CancelAnswer(called_off=not ends_wait, wait_ended=ends_wait)

    assert hand.client.ready(run.id, 1) is False
    hand.sweeper()
    assert set(hand.checkpoint_worker()) <= {Taken.DUTY_DONE, Taken.NOTHING_TO_DO}
    row = status(hand, run)
    assert (row["status"], row["look_at"]) == ("revoked", None)
    assert run.goes_on()
    if not ends_wait:
        hand.complete(run)
        assert hand.continuation().mode is Mode.LIVE
    next_wait_is_frozen(hand, run)


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_wait_that_ends_in_its_handshake_goes_on_live_at_once(
    is_answered: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """What the question leaves is a row to close; an answer that comes after the end is nothing."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    if is_answered:
        assert hand.client.ready(run.id, 1) is True

    hand.complete(run)

    assert hand.continuation().mode is Mode.LIVE
    assert hand.client.ready(run.id, 1) is False
    time_to_answer_ends(hand, run)
    hand.sweeper()
    assert hand.checkpoint_worker()[-1] in {Taken.DUTY_DONE, Taken.NOTHING_TO_DO}
    assert (status(hand, run)["status"], status(hand, run)["look_at"]) == ("revoked", None)
    assert run.goes_on()


def test_only_the_wait_that_asked_is_answered_and_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """An answer twice, of another wait, of a run that nobody knows, or that nobody asked for changes nothing."""
    run, other = a_run(), a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    hand.wait_for_task(other, delay_ms=30_000, handshake=True)

    assert hand.client.ready(run.id, 2) is False
    assert hand.client.ready("nobody", 1) is False
    assert hand.client.ready(other.id, 1) is False
    assert hand.client.ready(run.id, 1) is True
    assert hand.client.ready(run.id, 1) is False

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert (run.stands, other.goes_on()) == (True, True)
    assert hand.client.ready(run.id, 1) is False
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_row(other) is None


def test_an_answer_whose_take_is_lost_is_found_by_a_sweep(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Postgres has it: Redis may lose the rest, and the run is frozen a little later."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    assert hand.client.ready(run.id, 1) is True
    hand.lose_messages()

    hand.sweeper(ahead=LATER)

    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.stands


class TestAnEngineThatFailsOnce:
    """A try that failed: the process was thawed, and may run on until the next one."""

    @pytest.fixture
    def engine_script(self) -> str:
        """Fail the first time."""
        return "[ -e called ] || { touch called; exit 1; }"

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """A delay after it that does not end by itself."""
        return settings.model_copy(update={"retry_base_ms": 30_000})

    def test_after_a_failed_try_the_run_is_asked_anew(
        self, hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
    ) -> None:
        """What it said before that try no longer holds: no second try without a second answer."""
        run = a_run()
        hand.wait_for_task(run, delay_ms=0, handshake=True)
        assert hand.checkpoint_worker() == [Taken.ASKED]
        assert hand.client.ready(run.id, 1) is True
        assert hand.checkpoint_worker() == [Taken.RETRIED]
        assert (engine_folder / "called").exists()
        assert hand.client.ready(run.id, 1) is False

        time_to_answer_ends(hand, run)
        hand.sweeper()
        assert hand.checkpoint_worker() == [Taken.ASKED]
        assert run.goes_on()
        assert len(hand.questions()) == 2

        assert hand.client.ready(run.id, 1) is True
        assert hand.checkpoint_worker() == [Taken.ACCEPTED]
        assert run.stands
        assert status(hand, run)["tries"] == 1

    def test_a_second_question_that_is_not_answered_ends_the_tries(
        self, hand: ByHand, a_run: Callable[[], Run]
    ) -> None:
        """The row is closed; the run lives and goes on live."""
        run = a_run()
        hand.wait_for_task(run, delay_ms=0, handshake=True)
        assert hand.checkpoint_worker() == [Taken.ASKED]
        assert hand.client.ready(run.id, 1) is True
        assert hand.checkpoint_worker() == [Taken.RETRIED]
        for expected in (Taken.ASKED, Taken.UNANSWERED):
            time_to_answer_ends(hand, run)
            hand.sweeper()
            assert hand.checkpoint_worker() == [expected]

        hand.complete(run)

        assert hand.continuation().mode is Mode.LIVE
        assert run.goes_on()


def test_a_worker_that_dies_under_an_answered_take_is_followed_without_a_question(
    hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """The try goes on where it stood: its process may stand, and a process that stands cannot answer."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    assert hand.client.ready(run.id, 1) is True

    def die() -> None:
        raise KeyboardInterrupt

    at_effect("take.frozen", die)
    with pytest.raises(KeyboardInterrupt):
        hand.checkpoint_worker()
    assert run.stands

    assert take(hand.node, a_take(run)) is Taken.ACCEPTED
    assert len(hand.questions()) == 1


def test_the_timeline_shows_the_question_and_the_answer(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """And between the two the run is listed as asked."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    assert state_of(hand, run) == "asking"
    assert hand.client.ready(run.id, 1) is True
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    assert state_of(hand, run) == "frozen"
    with hand.at.pool.connection() as conn:
        events = [one.event for one in runs.timeline(conn, run.id)]
    assert events[:2] == ["wait.registered", "checkpoint.due"]
    assert events[2:6] == ["checkpoint.asked", "checkpoint.ready", "checkpoint.claimed", "checkpoint.accepted"]

"""Every reason to call off, in every phase of a wait: the answers, and what becomes of row, process and run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from by_hand import LATER, AtEffect, ByHand
from cancel_phases import (
    CALLS_OFF,
    ENDS,
    FAILS,
    Scene,
    cancel_of,
    in_back_off,
    in_the_delay,
    when_done,
    when_held,
    when_permitted_nonetheless,
    when_resumed,
    while_frozen,
    while_taken,
)
from runs import Run

from shared.client import Cancel, Refused
from shared.db.deferrals import CancelAnswer
from shared.tokens import is_revoked
from shared.vocabulary import CancelReason, Mode

Phase: TypeAlias = Callable[[Scene], CancelAnswer]
NOTHING: Final = CancelAnswer(called_off=False, wait_ended=False)
ENDED: Final = CancelAnswer(called_off=False, wait_ended=True)
CALLED_OFF: Final = CancelAnswer(called_off=True, wait_ended=False)


@pytest.fixture
def engine_script() -> str:
    """Fail as long as a file says so."""
    return f"test ! -e {FAILS}"


@pytest.mark.parametrize(
    ("phase", "answer", "status", "sent"),
    [
        (in_the_delay, ENDED, None, 0),
        (in_back_off, ENDED, "revoked", 0),
        (while_taken, ENDED, "refused", 0),
        (while_frozen, ENDED, "discarded", 0),
        (when_held, ENDED, "discarded", 0),
        (when_resumed, ENDED, None, 1),
        (when_done, NOTHING, None, 1),
    ],
)
def test_the_end_of_a_run_or_attempt_ends_its_wait(
    phase: Phase,
    answer: CancelAnswer,
    status: str | None,
    sent: int,
    hand: ByHand,
    a_run: Callable[[], Run],
    at_effect: AtEffect,
    engine_folder: Path,
) -> None:
    """No continuation from then on; the process is let go, the checkpoint closed or discarded, nothing left to do."""
    for fields in ENDS:
        run = a_run()
        cancel = cancel_of(run, fields)

        said = phase(Scene(hand, run, at_effect, engine_folder, lambda cancel=cancel: call(hand, cancel)))

        assert said == answer, cancel
        assert call(hand, cancel) == NOTHING, cancel
        assert hand.held() == [], cancel
        what_is_left_is_done(hand, run)
        assert run.goes_on(), cancel
        assert status_of(hand, run) == status, cancel
        hand.complete(run)
        what_is_left_is_done(hand, run)
        assert modes(hand, run) == [Mode.LIVE] * sent, cancel
        row = hand.wait_row(run)
        assert row["look_at"] is None, cancel
        assert row["cancel_reason"] == (None if answer == NOTHING else cancel.reason.type), cancel
        assert is_revoked(hand.at.redis, hand.at.keys, run_id=run.id, wait_number=1), cancel
        assert not is_revoked(hand.at.redis, hand.at.keys, run_id=run.id, wait_number=2), cancel


@pytest.mark.parametrize(
    ("phase", "answer", "status", "mode"),
    [
        (in_the_delay, CALLED_OFF, None, Mode.LIVE),
        (in_back_off, CALLED_OFF, "revoked", Mode.LIVE),
        (while_taken, CALLED_OFF, "refused", Mode.LIVE),
        (while_frozen, NOTHING, "accepted", Mode.RESTORED),
        (when_permitted_nonetheless, NOTHING, "restored", Mode.RESTORED),
        (when_resumed, NOTHING, None, Mode.LIVE),
        (when_done, NOTHING, None, Mode.LIVE),
    ],
)
def test_only_the_checkpoint_is_called_off_and_the_wait_goes_on(
    phase: Phase,
    answer: CancelAnswer,
    status: str | None,
    mode: Mode,
    hand: ByHand,
    a_run: Callable[[], Run],
    at_effect: AtEffect,
    engine_folder: Path,
) -> None:
    """The process runs unless it was frozen before; when the wait ends it is continued, as it then is."""
    for fields in CALLS_OFF:
        run = a_run()
        cancel = cancel_of(run, fields)

        said = phase(Scene(hand, run, at_effect, engine_folder, lambda cancel=cancel: call(hand, cancel)))

        assert said == answer, cancel
        assert call(hand, cancel) == NOTHING, cancel
        assert hand.held() == [], cancel
        what_is_left_is_done(hand, run)
        assert status_of(hand, run) == status, cancel
        assert run.stands if status == "accepted" else run.goes_on(), cancel
        hand.complete(run)
        hand.checkpoint_worker()
        assert {*modes(hand, run)} == {mode}, cancel
        assert run.goes_on(), cancel
        assert hand.wait_row(run)["cancelled_at"] is None, cancel


@pytest.mark.parametrize("fields", ENDS)
def test_a_wait_that_was_ended_before_it_came_is_refused(
    fields: dict[str, Any], hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 43: the cancel overtook its wait: refused, nothing is taken; what it did not name begins."""
    run = a_run()
    cancel = cancel_of(run, fields)

    assert call(hand, cancel) == NOTHING

    with pytest.raises(Refused) as refused:
        hand.wait_for_task(run, delay_ms=0)
    is_attempt = cancel.reason.type is CancelReason.ATTEMPT_OVER
    assert refused.value.code == ("attempt-superseded" if is_attempt else "run-over")
    assert (hand.checkpoint_worker(), hand.wait_row(run)) == ([], {})
    if is_attempt or cancel.wait_number:
        assert hand.wait_for_task(run, 2, attempt=2 if is_attempt else 1, delay_ms=30_000).will_checkpoint
        assert len(hand.held()) == 1


@pytest.mark.parametrize("fields", CALLS_OFF)
def test_a_checkpoint_that_was_called_off_before_its_wait_is_not_taken(
    fields: dict[str, Any], hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 43: the wait goes on without one, live; the checkpoint of the run's next wait is taken."""
    run = a_run()
    assert call(hand, cancel_of(run, fields)) == NOTHING

    said = hand.wait_for_task(run, 1, delay_ms=0)

    assert (said.will_checkpoint, said.why, hand.checkpoint_worker()) == (False, "called-off", [])
    hand.complete(run, 1)
    assert modes(hand, run) == [Mode.LIVE]
    hand.wait_for_task(run, 2, delay_ms=0)
    hand.checkpoint_worker()
    assert run.stands
    row = hand.checkpoint_row(run, 2)
    assert row is not None
    assert row["status"] == "accepted"


def call(hand: ByHand, cancel: Cancel) -> CancelAnswer:
    """Send a cancel and return its answer."""
    answer = hand.client.cancel(cancel)
    assert answer is not None
    return answer


def what_is_left_is_done(hand: ByHand, run: Run) -> None:
    """Have a sweeper look, and the workers do what it asks for; no checkpoint has a duty after that."""
    hand.sweeper(ahead=LATER)
    hand.resume_worker()
    hand.checkpoint_worker()
    row = hand.checkpoint_row(run)
    assert row is None or row["look_at"] is None


def status_of(hand: ByHand, run: Run) -> str | None:
    """Return where the checkpoint of a run's first wait stands; None: it has none."""
    row = hand.checkpoint_row(run)
    return row["status"] if row else None


def modes(hand: ByHand, run: Run) -> list[Mode]:
    """Return how a run was told to go on, as often as it was told."""
    return [one.mode for one in hand.continuations() if one.run_id == run.id]

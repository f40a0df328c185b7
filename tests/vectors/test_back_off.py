"""An engine that fails: tries with growing delays between them, the run alive all the time, then no more."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from by_hand import LATER, ByHand
from runs import Run
from upstream import dependency_id

from shared.messages import Take
from shared.settings import Settings
from shared.vocabulary import Mode, WaitReason
from workers.checkpoint.take import Taken, take

STEPS = [timedelta(seconds=seconds) for seconds in (10, 30, 90, 270)]
HORIZON = timedelta(seconds=60)


@pytest.fixture
def engine_script() -> str:
    """Leave one line for each call of the engine, and fail."""
    return "echo call >> calls; exit 1"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Room for four delays, of which the last two are beyond the horizon."""
    return settings.model_copy(update={"retry_base_ms": 10_000, "retry_total_ms": 400_000})


def test_an_engine_that_always_fails_is_tried_until_no_delay_is_left(
    hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 9: at once, then each delay within its window; at the end `failed`, and the wait goes on live."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)

    for failed, step in enumerate(STEPS, start=1):
        before = now(hand)
        assert hand.checkpoint_worker() == [Taken.RETRIED]
        row = hand.checkpoint_row(run)
        assert row is not None
        assert (row["status"], row["tries"], row["closed_at"]) == ("deferred", failed, None)
        assert before + step / 2 <= row["due_at"] <= now(hand) + step
        assert run.goes_on()
        is_near = hand.held() != []
        assert is_near is (row["look_at"] > row["due_at"])
        # Half of a step is chance, so one around the horizon may be either.
        assert is_near or step > HORIZON
        assert not is_near or step / 2 <= HORIZON
        delay_passes(hand, run)
    assert hand.checkpoint_worker() == [Taken.FAILED]

    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["look_at"], row["location"]) == ("failed", None, None)
    assert "exit" in row["error"]
    assert calls(engine_folder) == len(STEPS) + 1
    hand.sweeper(ahead=LATER)
    assert (hand.checkpoint_worker(), hand.held()) == ([], [])
    assert run.goes_on()
    hand.complete(run)
    assert hand.continuation().mode is Mode.LIVE


def test_a_take_that_comes_in_the_delay_between_two_tries_waits_for_the_rest(
    hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 9, a doubled message: the engine is not called before the delay is over."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.RETRIED]
    due = hand.held()

    assert take(hand.node, a_take(run)) is Taken.EARLY

    assert calls(engine_folder) == 1
    assert len(hand.held()) == len(due) == 1


def test_a_wait_that_ends_between_two_tries_goes_on_live_at_once(
    hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 10: no further try; what the delay's end finds is only a row to close."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.RETRIED]

    hand.complete(run)

    assert hand.continuation().mode is Mode.LIVE
    assert hand.held() == []
    delay_passes(hand, run)
    assert hand.checkpoint_worker() == [Taken.DUTY_DONE]
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["look_at"]) == ("revoked", None)
    assert calls(engine_folder) == 1
    assert run.goes_on()


@pytest.mark.parametrize("status", ["deferred", "failed"])
def test_a_time_that_is_over_resumes_a_run_that_no_try_could_freeze(
    status: str, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 11: the time itself resumes it, live, whether tries are left or not; nobody has to ask."""
    run = a_run()
    resume_at = hand.wait_for_time(run, seconds=3_600)
    for _ in STEPS if status == "failed" else STEPS[:1]:
        assert hand.checkpoint_worker() == [Taken.RETRIED]
        delay_passes(hand, run)
    if status == "failed":
        assert hand.checkpoint_worker() == [Taken.FAILED]

    hand.sweeper(at=resume_at)
    hand.resume_worker()

    heard = hand.continuation()
    assert (heard.mode, heard.outcomes) == (Mode.LIVE, {})
    row = hand.checkpoint_row(run)
    assert row is not None
    assert row["status"] == status
    assert run.goes_on()


def test_a_manual_wait_without_a_time_ends_with_its_first_failed_try(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Nobody would end it otherwise: it goes on live while its checkpoint is still to be tried."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0, reason=WaitReason.MANUAL)

    assert hand.checkpoint_worker() == [Taken.RETRIED]
    hand.sweeper()
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    assert run.goes_on()


def delay_passes(hand: ByHand, run: Run) -> None:
    """Make the delay before the next try end, and have a sweeper send the take; the held one is late."""
    with hand.at.pool.connection() as conn:
        conn.execute(
            "UPDATE checkpoint SET due_at = now(), look_at = now() WHERE dependency_id = %s",
            [dependency_id(run.id, 1)],
        )
    hand.at.redis.delete(hand.at.keys.held, hand.at.keys.held_due)
    hand.sweeper()


def a_take(run: Run) -> Take:
    """Return the take of a run's first wait, as a sweep sends it."""
    return Take(v=1, dependency_id=dependency_id(run.id, 1), run_id=run.id, wait_number=1)


def calls(folder: Path) -> int:
    """Return how often the engine was called."""
    return len((folder / "calls").read_text().splitlines())


def now(hand: ByHand) -> Any:
    """Return the time by Postgres' clock."""
    with hand.at.pool.connection() as conn:
        return conn.execute("SELECT clock_timestamp()").fetchall()[0][0]

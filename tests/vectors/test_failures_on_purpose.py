"""Failures that the settings ask for: they are retried like real ones, can be called off, and harm no run."""

import time
from collections.abc import Callable
from threading import Event

import pytest
from by_hand import ByHand
from pydantic import ValidationError
from runs import Run

from shared.errors import EngineRevoked, EngineUnavailable
from shared.settings import Settings
from workers.checkpoint.take import Taken
from workers.engines import on_purpose
from workers.engines.on_purpose import Step, hold_up_or_fail

ASKED_FOR = {Step.CHECKPOINT: "fail_checkpoint", Step.PUSH: "fail_push", Step.RESTORE: "fail_restore"}


@pytest.mark.parametrize("name", [*ASKED_FOR.values(), "chaos"])
def test_production_refuses_them_at_the_start(name: str) -> None:
    """A worker that could fail on purpose does not start in production."""
    with pytest.raises(ValidationError, match=f"{name.upper()}: failures on purpose"):
        Settings.model_validate({name: 0.5})
    assert getattr(Settings.model_validate({name: 0.5, "environment": "development"}), name) == 0.5


@pytest.fixture(params=[Step.CHECKPOINT, Step.PUSH])
def failing(request: pytest.FixtureRequest) -> Step:
    """What always fails."""
    return request.param


@pytest.fixture
def settings(settings: Settings, failing: Step) -> Settings:
    """Settings of a system in which it does."""
    return always(settings, failing)


def test_a_take_that_fails_on_purpose_is_tried_again_and_the_run_lives(
    hand: ByHand, a_run: Callable[[], Run], failing: Step
) -> None:
    """The row says why, waits for its back-off, and the run was thawed."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)

    assert hand.checkpoint_worker() == [Taken.RETRIED]

    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["tries"]) == ("deferred", 1)
    assert f"CHECKPOINT_FAIL_{failing.upper()} is 1" in row["error"]
    assert run.goes_on()


@pytest.mark.parametrize("step", Step)
def test_each_step_fails_by_its_own_setting_alone(step: Step) -> None:
    """A probability of 1 is every time, 0 is never."""
    settings = always(Settings(), step)
    for other in set(Step) - {step}:
        hold_up_or_fail(settings, other, stop=Event())
    with pytest.raises(EngineUnavailable, match=f"the {step} failed on purpose"):
        hold_up_or_fail(settings, step, stop=Event())


def test_they_end_when_their_time_since_the_start_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a recovery can be watched."""
    settings = always(Settings(), Step.PUSH).model_copy(update={"fail_for_ms": 60_000})
    monkeypatch.setattr(on_purpose, "_STARTED", time.monotonic())
    with pytest.raises(EngineUnavailable):
        hold_up_or_fail(settings, Step.PUSH, stop=Event())

    monkeypatch.setattr(on_purpose, "_STARTED", time.monotonic() - 61)
    hold_up_or_fail(settings, Step.PUSH, stop=Event())


def test_a_revocation_ends_what_is_held_up() -> None:
    """A wait that ends does not wait for chaos."""
    settings = Settings().model_copy(update={"chaos": 1.0, "chaos_delay_ms": 3_600_000})
    stop = Event()
    stop.set()

    with pytest.raises(EngineRevoked, match="held up on purpose"):
        hold_up_or_fail(settings, Step.CHECKPOINT, stop=stop)


def always(settings: Settings, step: Step) -> Settings:
    """Return settings by which a step always fails."""
    return settings.model_copy(update={ASKED_FOR[step]: 1.0, "environment": "development"})

"""Times that are too near for a checkpoint, by thresholds that a restart changes; delays that are none."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from by_hand import ByHand, kwargs_of
from runs import Run
from upstream import a_wait, dependency_id

from shared.client import Defer, Dependency
from shared.connections import Connections
from shared.messages import Refused
from shared.post import envelope
from shared.queues import CONTINUATIONS, DEFERRALS, TaskName
from shared.settings import Settings
from shared.vocabulary import Mode, WaitReason
from workers.checkpoint.defer import DeferStory
from workers.checkpoint.take import Taken
from workers.intake import handle

DELAYS: list[tuple[object, str]] = [
    (-5, "-5"),
    ("abc", "abc"),
    ("10s", "10s"),
    (3e9, "3000000000"),
    (0.5, "0.5"),
    (172_800_001, "172800001"),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with the thresholds' defaults."""
    usual = Settings.model_fields
    names = ("duration_threshold_ms", "retry_threshold_ms")
    return settings.model_copy(update={name: usual[name].default for name in names})


@pytest.mark.parametrize(
    ("reason", "seconds"), [(WaitReason.DURATION, 29), (WaitReason.RETRY, 29.9), (WaitReason.MANUAL, 29)]
)
def test_a_time_that_is_too_near_ends_live_without_a_checkpoint(
    reason: WaitReason, seconds: float, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vectors 19 and 21: accepted, nothing is sent; when it is over the run goes on live."""
    run = a_run()
    resume_at = wait_for(hand, run, reason, seconds)

    assert (hand.wait_row(run)["why"], hand.held(), hand.checkpoint_worker()) == ("ends-too-soon", [], [])
    hand.sweeper(at=resume_at)
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE
    assert (hand.checkpoint_worker(), hand.checkpoint_row(run)) == ([], None)


@pytest.mark.parametrize(
    ("reason", "setting"),
    [(WaitReason.RETRY, "retry_threshold_ms"), (WaitReason.DURATION, "duration_threshold_ms")],
)
def test_a_process_that_starts_with_another_threshold_sets_it_for_all(
    reason: WaitReason, setting: str, hand: ByHand, settings: Settings, a_run: Callable[[], Run]
) -> None:
    """Vector 21: what was frozen before the restart stays after it; a client that was there judges by the new one."""
    run, later = a_run(), a_run()
    wait_for(hand, run, reason, 60)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    with closing(Connections.open(settings.model_copy(update={setting: 120_000}), name="restarted", size=1)):
        wait_for(hand, later, reason, 60)

    assert hand.wait_row(later)["why"] == "ends-too-soon"
    assert hand.checkpoint_worker() == []
    assert later.runs


@pytest.mark.parametrize(("delay", "shown"), DELAYS)
def test_a_delay_that_is_none_is_refused_over_the_broker(
    delay: object, shown: str, hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Vector 38: by the field, with what came and what to do, to the sender; no row, no checkpoint at once."""
    run = a_run()
    register(hand, a_wait(run.id, run.workload), delay_ms=delay)

    (said,) = refusals(hand)
    assert (said.run_id, said.code, said.facts["field"]) == (run.id, "invalid-message", "delay_ms")
    assert shown in said.problem
    assert "0 to 172800000" in said.problem
    assert hand.wait_row(run) == {}
    assert (hand.checkpoint_worker(), hand.held()) == ([], [])


@pytest.mark.parametrize("delay", [None, 0, 172_800_000])
def test_a_delay_inside_its_limits_is_taken_over_the_broker(
    delay: int | None, hand: ByHand, settings: Settings, a_run: Callable[[], Run]
) -> None:
    """Vector 38: none is the setting's; two days are no overflow, they are left to a sweeper."""
    run = a_run()
    register(hand, a_wait(run.id, run.workload), delay_ms=delay)

    row = hand.wait_row(run)
    asked = settings.delay_task_ms if delay is None else delay
    assert refusals(hand) == []
    assert (row["delay_ms"], row["delay_from"]) == (asked, "reason" if delay is None else "call")
    assert row["due_at"] == row["registered_at"] + timedelta(milliseconds=asked)
    assert hand.checkpoint_worker() == ([Taken.ACCEPTED] if delay == 0 else [])


def wait_for(hand: ByHand, run: Run, reason: WaitReason, seconds: float) -> datetime:
    """Register a wait for a time from now, and return when that is."""
    resume_at = datetime.now(UTC) + timedelta(seconds=seconds)
    hand.wait_for_task(run, reason=reason, dependency=Dependency(dependency_id(run.id, 1), resume_at=resume_at))
    return resume_at


def register(hand: ByHand, wait: Defer, **fields: Any) -> None:
    """Register a wait over the broker, with whatever fields are given, as another language's client may."""
    body = msgspec.json.encode(msgspec.to_builtins(wait) | fields)
    raw = envelope(TaskName.DEFER, body, task_id="a-message", queue=DEFERRALS)
    with hand.at.pool.connection() as conn:
        handle(DeferStory(hand.at.settings, hand.at.keys), [raw], conn=conn, post=hand.at.post())


def refusals(hand: ByHand) -> list[Refused]:
    """Return what was refused and told to the sender."""
    raws: Any = hand.at.redis.lrange(hand.at.keys.queue(CONTINUATIONS), 0, -1)
    return [msgspec.json.decode(kwargs_of(raw), type=Refused) for raw in raws]

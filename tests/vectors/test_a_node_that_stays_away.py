"""A frozen run on a node that is away: its restore is asked for without end, and done when the node is back."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from by_hand import ByHand
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.settings import Settings
from shared.vocabulary import Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken
from workers.cli.kinds import WorkerKind

MOST = timedelta(minutes=10)
YEAR = timedelta(days=365)
REPEATS = 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings whose longest gap is the default, and whose nodes are soon found to be silent."""
    return settings.model_copy(
        update={"resend_max_ms": Settings.model_fields["resend_max_ms"].default, "node_silent_ms": 1_000}
    )


def test_a_restore_is_asked_for_as_long_as_its_node_stays_away(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 46: for hours, and for a year: nobody hears it, it is never dropped, and no gap exceeds the longest."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)
    resumed_at = hand.wait_row(run)["resumed_at"]

    for late in (*(None for _ in range(REPEATS)), YEAR):
        at = hand.wait_row(run)["look_at"] if late is None else resumed_at + late
        hand.lose_messages()
        hand.sweeper(at=at)
        assert at < hand.wait_row(run)["look_at"] <= at + MOST * 1.1
        assert (hand.continuations(), run.stands) == ([], True)
    assert resumed_at + YEAR < hand.wait_row(run)["look_at"]

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


def test_a_run_comes_back_with_its_node(system: System, upstream: Upstream, a_run: Callable[[], Run]) -> None:
    """Vector 46: its only worker died with the run frozen; silent, asked again and again, then back: restored."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    system.kill(WorkerKind.CHECKPOINT)
    wait_until(lambda: not system.node_is_seen())

    upstream.complete(run)
    wait_until(lambda: system.rows("SELECT id FROM dependency WHERE sends >= 3"))
    assert run.stands
    assert upstream.heard[run.id, 1] == []
    system.start(WorkerKind.CHECKPOINT)

    assert upstream.continuation(run).mode is Mode.RESTORED
    assert run.goes_on()

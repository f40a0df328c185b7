"""A frozen run on a node that is away: nothing is asked of it, its upstream is told, and the run comes back with it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from by_hand import ByHand
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.settings import Settings
from shared.vocabulary import Mode, Unreached
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken
from workers.cli.kinds import WorkerKind
from workers.node.agent import be_seen

MOST = timedelta(minutes=10)
YEAR = timedelta(days=365)
REPEATS = 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings whose longest gap is the default, and whose nodes are soon found to be silent."""
    return settings.model_copy(
        update={"resend_max_ms": Settings.model_fields["resend_max_ms"].default, "node_silent_ms": 1_000}
    )


def test_nothing_is_asked_of_a_node_that_stays_away(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 46: for hours, and for a year: its upstream is told again and again, and no gap exceeds the longest."""
    run = a_frozen_run(hand, a_run)
    hand.complete(run)
    resumed_at = hand.wait_row(run)["resumed_at"]

    for late in (timedelta(hours=1), *(None for _ in range(REPEATS)), YEAR):
        at = hand.wait_row(run)["look_at"] if late is None else resumed_at + late
        hand.lose_messages()
        hand.sweeper(at=at, node_is_silent=True)
        assert at < hand.wait_row(run)["look_at"] <= at + MOST * 1.1
        told = hand.out_of_reach()[0]
        assert (told.run_id, told.wait_number, told.code, told.final) == (run.id, 1, Unreached.NODE_SILENT, False)
        assert hand.node.name in told.problem
        assert (hand.asked_of(hand.node.name), hand.continuations(), run.stands) == ([], [], True)
    assert resumed_at + YEAR < hand.wait_row(run)["look_at"]


def test_a_node_that_appears_again_wakes_its_resumed_waits(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Their next look was minutes away; the first sweep after the node was seen asks for their restores."""
    run = a_frozen_run(hand, a_run)
    hand.complete(run)
    hand.sweeper(ahead=timedelta(hours=1), node_is_silent=True)
    hand.lose_messages()
    hand.see_node_at(timedelta(hours=-1))
    hand.sweeper(node_is_silent=True)
    assert hand.asked_of(hand.node.name) == []

    be_seen(hand.node)
    hand.sweeper()

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    assert run.goes_on()


def test_of_a_node_that_falls_silent_each_upstream_is_told_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Of runs that are frozen there and of those that live; once for each silence, however often a sweeper looks."""
    frozen, live, over = a_frozen_run(hand, a_run), a_run(), a_run()
    hand.wait_for_task(live, delay_ms=60_000)
    hand.wait_for_task(over, delay_ms=60_000)
    hand.complete(over)
    hand.client.done(hand.continuation().continuation_id)

    for hours in (1, 2):
        hand.sweeper(ahead=timedelta(hours=hours), node_is_silent=True)
    assert sorted(told.run_id for told in hand.out_of_reach()) == sorted([frozen.id, live.id])

    hand.see_node_at(timedelta(hours=3))
    hand.sweeper(ahead=timedelta(hours=4), node_is_silent=True)
    assert sorted(told.run_id for told in hand.out_of_reach()) == sorted([frozen.id, live.id] * 2)
    assert {told.since for told in hand.out_of_reach()} != {None}


def test_a_run_comes_back_with_its_node(system: System, upstream: Upstream, a_run: Callable[[], Run]) -> None:
    """Vector 46: its only worker died with the run frozen; its upstream is told, and then it is back: restored."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    system.kill(WorkerKind.CHECKPOINT)
    wait_until(lambda: not system.node_is_seen())

    upstream.complete(run)
    told = wait_until(lambda: upstream.out_of_reach[run.id, 1])
    assert {(one.code, one.final) for one in told} == {(Unreached.NODE_SILENT, False)}
    assert run.stands
    assert upstream.heard[run.id, 1] == []
    system.start(WorkerKind.CHECKPOINT)

    assert upstream.continuation(run).mode is Mode.RESTORED
    assert run.goes_on()


def a_frozen_run(hand: ByHand, a_run: Callable[[], Run]) -> Run:
    """Start a run and have its checkpoint accepted."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    return run

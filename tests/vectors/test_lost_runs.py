"""A frozen run of which nothing is left: its restore ends for good, and its upstream hears of it until it answers."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.request import url2pathname

import pytest
from by_hand import LATER, ByHand
from criu import why_not_criu, with_criu
from process_runs import CountingRun
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.client import Cancel, CancelCause
from shared.settings import Settings
from shared.vocabulary import CancelReason, Unreached
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

DAY = timedelta(days=1)


def test_a_frozen_process_that_has_ended_is_given_up(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Its restore is tried once; the row is closed and has no duty, and the timeline says so."""
    run = a_frozen_run_that_has_ended(hand, a_run)

    assert hand.checkpoint_worker() == [Restored.LOST]

    (told,) = hand.out_of_reach()
    assert (told.run_id, told.wait_number, told.code, told.final) == (run.id, 1, Unreached.RUN_GONE, True)
    assert "has ended" in told.problem
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["lease_until"], row["look_at"]) == ("lost", None, None)
    assert hand.happened(run)[-1] == "checkpoint.lost"
    assert hand.continuations() == []


def test_an_upstream_hears_of_a_lost_run_until_it_answers(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """However often that is lost on the way; nothing more is asked of the node meanwhile, nor after the answer."""
    run = a_frozen_run_that_has_ended(hand, a_run)
    assert hand.checkpoint_worker() == [Restored.LOST]
    for loss in range(1, 4):
        hand.lose_messages()
        hand.sweeper(ahead=LATER * loss)
        assert [told.final for told in hand.out_of_reach()] == [True]
        assert hand.asked_of(hand.node.name) == []

    assert hand.client.done(hand.out_of_reach()[0].continuation_id)

    hand.lose_messages()
    hand.sweeper(ahead=DAY)
    assert (hand.out_of_reach(), hand.asked_of(hand.node.name)) == ([], [])
    assert hand.wait_row(run)["look_at"] is None


def test_the_end_of_the_attempt_answers_for_a_lost_run_too(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Its upstream gives the attempt up, and nothing is left to do."""
    run = a_frozen_run_that_has_ended(hand, a_run)
    assert hand.checkpoint_worker() == [Restored.LOST]

    cause = CancelCause(type=CancelReason.ATTEMPT_OVER)
    hand.client.cancel(Cancel(v=1, run_id=run.id, attempt=1, reason=cause))

    hand.lose_messages()
    hand.sweeper(ahead=DAY)
    assert hand.out_of_reach() == []


def test_a_platform_is_told_of_a_lost_run(system: System, upstream: Upstream, a_run: Callable[[], Run]) -> None:
    """Real workers: the frozen process was killed, as by a restart of its machine, and its wait ends."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.rows("SELECT FROM checkpoint WHERE freed_at IS NOT NULL"))
    run.end()

    upstream.complete(run)

    (told,) = wait_until(lambda: upstream.out_of_reach[run.id, 1])
    assert told.final
    wait_until(lambda: system.rows("SELECT FROM dependency WHERE done_at IS NOT NULL AND look_at IS NULL"))
    assert upstream.heard[run.id, 1] == []
    assert system.rows("SELECT FROM checkpoint WHERE status = 'lost' AND restores = 1")


class TestOfAnImage:
    """Of the engine `process`, whose frozen runs are images in a store."""

    @pytest.fixture
    def settings(self, settings: Settings, tmp_path: Path) -> Settings:
        """Settings of a node with CRIU; skipped where that does not work."""
        if (why := why_not_criu()) is not None:
            pytest.skip(f"the engine process does not work here: {why}")
        return with_criu(settings, tmp_path)

    @pytest.fixture
    def a_frozen_run(self, hand: ByHand, tmp_path: Path) -> Iterator[CountingRun]:
        """A run that is frozen away, and whose wait ended."""
        run = CountingRun(tmp_path / "counting", node=hand.node.name)
        hand.wait_for_task(run, delay_ms=0)
        assert hand.checkpoint_worker() == [Taken.ACCEPTED]
        hand.complete(run)
        yield run
        run.end()

    def test_one_that_comes_into_sight_again_is_restored(self, hand: ByHand, a_frozen_run: CountingRun) -> None:
        """A store that is not mounted looks like one without images: no run is given up for it."""
        folder = store_of(hand)
        away = folder.rename(folder.with_name("away"))
        folder.mkdir()
        assert hand.checkpoint_worker() == [Restored.GIVEN_BACK]
        folder.rmdir()
        away.rename(folder)

        hand.sweeper(ahead=LATER)

        assert hand.checkpoint_worker() == [Restored.RESTORED]
        a_frozen_run.went_on(hand.continuation())

    def test_one_that_stays_away_is_given_up(self, hand: ByHand, a_frozen_run: CountingRun) -> None:
        """Once the run's own node has not found it for long enough."""
        (image,) = store_of(hand).iterdir()
        shutil.rmtree(image)
        assert hand.checkpoint_worker() == [Restored.GIVEN_BACK]
        assert hand.out_of_reach() == []
        hand.gone_for(a_frozen_run, milliseconds=hand.at.settings.image_gone_ms)

        hand.sweeper(ahead=LATER)

        assert hand.checkpoint_worker() == [Restored.LOST]
        (told,) = hand.out_of_reach()
        assert (told.run_id, told.code) == (a_frozen_run.id, Unreached.RUN_GONE)


def a_frozen_run_that_has_ended(hand: ByHand, a_run: Callable[[], Run]) -> Run:
    """Start a run, have its checkpoint accepted, kill its process, and end its wait."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    run.end()
    hand.complete(run)
    return run


def store_of(hand: ByHand) -> Path:
    """Return the folder of a system's images."""
    return Path(url2pathname(hand.at.settings.image_store.removeprefix("file://")))

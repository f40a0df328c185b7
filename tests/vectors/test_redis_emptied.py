"""Redis emptied at any moment: late or needless work, never a wait that is lost or a run that is stuck."""

from collections.abc import Callable

from by_hand import LATER, ByHand, empty_redis, first_take
from redis import Redis
from runs import Run
from system import System
from upstream import Upstream, a_completion
from waiting import wait_until

from shared.settings import Settings
from shared.vocabulary import Mode
from workers.checkpoint.take import Taken, take


def test_a_wait_that_ends_after_redis_was_emptied_goes_on_live(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 34: emptied in the delay, and the wait ends in it: live, and the delay's end finds nothing to take."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=5_000)
    hand.lose_messages()

    hand.complete(run)

    assert hand.continuation().mode is Mode.LIVE
    hand.time_passes(run, seconds=5)
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == []
    assert hand.checkpoint_row(run) is None


def test_a_take_without_its_token_finds_the_end_of_the_wait_in_postgres(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 34, emptied after the wait ended: the token is gone, and the take comes and touches nothing."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    hand.complete(run)
    hand.lose_messages()

    assert take(hand.node, first_take(run)) is Taken.NOTHING_TO_DO

    assert hand.checkpoint_row(run) is None
    assert run.runs


def test_a_completion_whose_hint_was_lost_is_resumed_by_a_sweep(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 34, emptied between the completion's commit and the resume: the sweep asks for the resume again."""
    run = a_run()
    hand.wait_for_task(run)
    hand.client.complete(a_completion(run.id))
    hand.lose_messages()

    hand.sweeper(ahead=LATER)
    hand.resume_worker()

    assert hand.continuation().mode is Mode.LIVE


def test_a_wait_that_outlives_an_emptied_redis_is_frozen_late_and_restored(
    system: System, settings: Settings, upstream: Upstream, redis_client: Redis, a_run: Callable[[], Run]
) -> None:
    """Vector 35: emptied in the delay and once more while frozen, under real workers: frozen by a sweep, restored."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=2_500)
    empty_redis(redis_client, settings.key_prefix)

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    assert run.stands
    empty_redis(redis_client, settings.key_prefix)
    upstream.complete(run)

    assert upstream.continuation(run).mode is Mode.RESTORED
    assert run.goes_on()

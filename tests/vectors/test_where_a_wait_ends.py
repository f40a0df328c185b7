"""Where a wait ends decides everything: in its delay, or after its checkpoint. All workers are real."""

from collections.abc import Callable

from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.vocabulary import Mode


def test_a_wait_that_ends_in_its_delay_is_never_touched(
    system: System, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Vector 2: the wait ends before its delay: no checkpoint row, nothing fires later, the run goes on live."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=2_500)

    upstream.complete(run, outcome={"answer": 42})

    heard = upstream.continuation(run)
    assert heard.mode is Mode.LIVE
    assert heard.outcomes is not None
    assert [outcome.value for outcome in heard.outcomes.values()] == [{"answer": 42}]
    # Until a sweep would have asked for a checkpoint that is late.
    wait_until(lambda: system.rows("SELECT id FROM dependency WHERE due_at < now() - interval '700 ms'"))
    assert system.rows("SELECT id FROM checkpoint") == []
    assert run.runs


def test_a_wait_that_outlives_its_delay_is_frozen_and_brought_back(
    system: System, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Vector 1: the delay ends first: the run stands still; when its wait ends it is restored and goes on once."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: run.stands)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    assert run.stands

    upstream.complete(run)

    heard = upstream.continuation(run)
    assert heard.mode is Mode.RESTORED
    assert heard.checkpoint is not None
    assert run.goes_on()
    assert len(upstream.heard[run.id, 1]) == 1

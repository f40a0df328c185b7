"""A wait that ends while the engine dumps and stores: the work is ended, and the run goes on live."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from by_hand import ByHand
from processes import commands_in
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.vocabulary import Mode
from workers.checkpoint.take import Taken

# Begins, and works longer than any test may take, in a child of its own.
LONG = "touch started; sleep 90; exit 0"
# The same, and says that it has succeeded when it is told to end.
LATE = "trap 'exit 0' TERM; touch started; while :; do sleep 1; done"


@pytest.fixture
def engine_script() -> str:
    """Work for long."""
    return LONG


def test_a_wait_that_ends_while_the_engine_works_ends_its_command(
    system: System, upstream: Upstream, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 3: the command is killed with its children, nothing is offered, nothing is left standing."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until((engine_folder / "started").exists)
    assert run.stands

    upstream.complete(run)

    assert upstream.continuation(run).mode is Mode.LIVE
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'revoked'"))
    assert run.goes_on()
    assert commands_in(engine_folder) == []
    assert system.rows("SELECT id FROM dependency WHERE checkpoint_id IS NOT NULL") == []
    assert len(upstream.heard[run.id, 1]) == 1


@pytest.mark.parametrize("engine_script", [LONG, LATE], ids=["killed", "late success"])
def test_a_time_that_ends_while_the_engine_works_ends_its_command(
    hand: ByHand, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Vector 18: by the sweeper's clock alone; the run goes on live, and a success that comes then is none."""
    run = a_run()
    resume_at = hand.wait_for_time(run, seconds=3_600)
    with ThreadPoolExecutor(1) as thread:
        taken = thread.submit(hand.checkpoint_worker)
        wait_until((engine_folder / "started").exists)
        assert run.stands

        hand.sweeper(at=resume_at)
        hand.resume_worker()

        assert taken.result() == [Taken.REVOKED]
    assert commands_in(engine_folder) == []
    assert run.goes_on()
    row = hand.checkpoint_row(run)
    assert row is not None
    assert (row["status"], row["location"], row["look_at"]) == ("revoked", None, None)
    assert hand.wait_row(run)["checkpoint_id"] is None
    assert (hand.continuation().mode, hand.continuation().outcomes) == (Mode.LIVE, {})

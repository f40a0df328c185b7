"""A wait that ends while the engine dumps and stores: the work is ended, and the run goes on live."""

from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Process, processes_of
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.vocabulary import Mode


@pytest.fixture
def engine_script() -> str:
    """Begin, and work longer than any test may take, in a child of its own."""
    return "touch started; sleep 90; exit 0"


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


def commands_in(folder: Path) -> list[Process]:
    """Return the processes of the engine's program; the workers name its folder in their settings."""
    return [process for process in processes_of(folder) if "workers.cli" not in process.command]

"""A worker that is told to stop gives back what it has in hand: nothing stands, no try is counted, another goes on."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import commands_in
from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.vocabulary import Mode
from workers.cli.kinds import WorkerKind

STOP_SECONDS = 11  # what `up` allows its workers
# Says that it has begun, then works until it is let through; one of the two does not hear a polite end.
LONG = "touch started; until [ -e ../gate ]; do sleep 0.02; done"
DEAF = f"trap '' TERM; {LONG}"
SHORT = "touch started; until [ -e ../gate ]; do sleep 0.02; done; sleep 1; touch ended"


@pytest.fixture
def engine_script() -> str:
    """Work until the gate opens."""
    return LONG


def stop(system: System, *signals: signal.Signals) -> None:
    """Tell the checkpoint worker to stop, and wait for its end within what `up` allows."""
    (worker,) = system.processes(WorkerKind.CHECKPOINT)
    for one in signals:
        worker.send_signal(one)
    assert worker.wait(timeout=STOP_SECONDS) == 0
    system.processes(WorkerKind.CHECKPOINT).clear()


@pytest.mark.parametrize("engine_script", [LONG, DEAF], ids=["polite", "deaf"])
def test_a_checkpoint_in_hand_is_given_back(
    system: System, upstream: Upstream, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Its command is ended, its process goes on where it stood; another worker takes it, as if for the first time."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until((engine_folder / "started").exists)
    assert run.stands

    stop(system, signal.SIGTERM)

    assert run.goes_on()
    assert commands_in(engine_folder) == []
    (row,) = system.rows("SELECT status, tries, error FROM checkpoint")
    assert row == {"status": "deferred", "tries": 0, "error": None}
    (engine_folder.parent / "gate").touch()
    system.start(WorkerKind.CHECKPOINT)
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    upstream.complete(run)
    assert upstream.continuation(run).mode is Mode.RESTORED
    assert run.goes_on()


@pytest.mark.parametrize("engine_script", [SHORT])
def test_a_checkpoint_that_is_nearly_taken_is_finished(
    system: System, upstream: Upstream, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """A short command ends by itself, and its checkpoint is accepted."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until((engine_folder / "started").exists)

    (engine_folder.parent / "gate").touch()
    stop(system, signal.SIGTERM)

    assert (engine_folder / "ended").exists()
    (row,) = system.rows("SELECT status, freed_at IS NOT NULL AS is_freed FROM checkpoint")
    assert row == {"status": "accepted", "is_freed": True}


def test_a_second_signal_leaves_nothing_standing_either(
    system: System, upstream: Upstream, a_run: Callable[[], Run], engine_folder: Path
) -> None:
    """Whoever presses Ctrl-C twice does not want to wait; the run must not pay for it."""
    system.start()
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until((engine_folder / "started").exists)

    (worker,) = system.processes(WorkerKind.CHECKPOINT)
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGINT)
    worker.wait(timeout=STOP_SECONDS)
    system.processes(WorkerKind.CHECKPOINT).clear()

    assert run.goes_on()
    assert commands_in(engine_folder) == []

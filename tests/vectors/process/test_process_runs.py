"""Runs that are really frozen away: real workers, real CRIU, and processes that are gone meanwhile."""

import signal
from collections.abc import Callable

import psycopg
import pytest
from criu import stored_in
from process_runs import CountingRun
from psycopg.types.json import Jsonb
from system import System
from upstream import Upstream, dependency_id
from waiting import wait_until

from shared.client import Cancel, CancelCause
from shared.settings import Settings
from shared.vocabulary import CancelReason, Mode
from tests.vectors.process.conftest import GATED, Gate
from workers.cli.kinds import WorkerKind

PHASES = {"freeze_ms", "dump_ms", "store_ms", "dump_bytes", "restore_ms", "permit_ms"}

StartRun = Callable[[], CountingRun]


def is_frozen(system: System) -> bool:
    """Whether a checkpoint was accepted and its process is gone."""
    return bool(system.rows("SELECT FROM checkpoint WHERE status = 'accepted' AND freed_at IS NOT NULL"))


def is_settled(system: System) -> bool:
    """Whether every checkpoint has ended and has no duty left."""
    return not system.rows("SELECT FROM checkpoint c WHERE has_duty(c) OR status IN ('accepted', 'restoring')")


def test_a_run_that_is_frozen_is_gone_and_comes_back_as_it_was(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Vector 1, three waits in a row: nothing of the run is left but its image, and then nothing of that."""
    system.start()
    run = a_counting_run()
    for number in (1, 2, 3):
        answer = upstream.wait_for_task(run, number, delay_ms=0)
        assert answer.will_checkpoint
        wait_until(lambda: is_frozen(system))
        assert run.is_gone
        [(location, image_bytes)] = [
            (row["location"], row["image_bytes"])
            for row in system.rows("SELECT location, image_bytes FROM checkpoint WHERE status = 'accepted'")
        ]
        assert stored_in(settings) == [location.removeprefix("process:")]
        assert image_bytes > 0

        upstream.complete(run, number)

        heard = upstream.continuation(run, number)
        assert heard.mode is Mode.RESTORED
        run.went_on(heard)
        wait_until(lambda: is_settled(system))
        assert stored_in(settings) == []
        assert len(upstream.heard[run.id, number]) == 1
    (row,) = system.rows("SELECT phases FROM checkpoint WHERE wait_number = 3")
    assert set(row["phases"]) == PHASES


@pytest.mark.parametrize("script", [GATED], ids=["a gate"])
def test_a_wait_that_ends_during_the_dump_goes_on_live(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun, gate: Gate
) -> None:
    """Vector 3: the dump ends, since it cannot be broken off without harm; nothing is stored and nothing offered."""
    system.start()
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    gate.wait()
    run.assert_stands()

    upstream.complete(run)
    assert upstream.continuation(run).mode is Mode.LIVE
    gate.open()

    wait_until(lambda: is_settled(system))
    run.assert_runs()
    # Refused, if the dump was quicker than the token.
    assert [row["status"] for row in system.rows("SELECT status FROM checkpoint")] in (["revoked"], ["refused"])
    assert stored_in(settings) == []
    assert len(upstream.heard[run.id, 1]) == 1


@pytest.mark.parametrize("script", [GATED], ids=["a gate"])
def test_an_image_that_is_offered_too_late_is_refused_and_removed(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun, gate: Gate
) -> None:
    """Vector 4: the wait ended and no token told the engine; the run goes on live as if nothing had been."""
    system.start(WorkerKind.CHECKPOINT, WorkerKind.SWEEPER)
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    gate.wait()
    over = {"v": 1, "dependency_id": dependency_id(run.id, 1), "outcome_type": "success"}
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        conn.execute("SELECT complete_dependency(%s)", [Jsonb(over)])
    gate.open()

    wait_until(lambda: is_settled(system) and system.rows("SELECT FROM checkpoint WHERE status = 'refused'"))
    run.assert_runs()
    assert stored_in(settings) == []
    system.start(WorkerKind.RESUME)
    assert upstream.continuation(run).mode is Mode.LIVE


def test_a_wait_that_ends_before_the_old_process_is_gone_is_restored(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Vector 5: accepted, then the worker died; whoever restores the run ends the old process first."""
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="take.offered:1")
    system.start(WorkerKind.RESUME, WorkerKind.SWEEPER)
    run = a_counting_run()
    old = run.workload
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.processes(WorkerKind.CHECKPOINT)[0].poll() == -signal.SIGKILL)
    run.assert_stands()
    upstream.complete(run)

    system.start(WorkerKind.CHECKPOINT)

    heard = upstream.continuation(run)
    assert heard.mode is Mode.RESTORED
    assert heard.workload != old.to_json()
    run.went_on(heard)
    wait_until(lambda: is_settled(system))
    assert stored_in(settings) == []


def test_acceptance_and_end_at_one_moment_come_to_one_ending(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Vector 7: each wait ends at about the moment of its acceptance; whichever comes first, the run goes on once."""
    system.start()
    run = a_counting_run()
    modes: set[Mode] = set()
    for number in range(1, 7):
        upstream.wait_for_task(run, number, delay_ms=0)
        # As it is frozen, as its image is written, and as that was accepted.
        moments = [lambda: run.stands, lambda: stored_in(settings), lambda: is_frozen(system)]
        wait_until(moments[number % 3])
        upstream.complete(run, number)
        heard = upstream.continuation(run, number)
        modes.add(heard.mode)
        wait_until(lambda: is_settled(system))
        run.went_on(heard)
        assert stored_in(settings) == []
        assert len(upstream.heard[run.id, number]) == 1
    assert modes <= {Mode.LIVE, Mode.RESTORED}


def test_nothing_is_left_of_a_frozen_run_that_is_cancelled(
    system: System, upstream: Upstream, settings: Settings, a_counting_run: StartRun
) -> None:
    """Vector 48: neither an image nor a process, and there is no continuation."""
    system.start()
    run = a_counting_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: is_frozen(system))

    upstream.client.cancel(Cancel(v=1, run_id=run.id, reason=CancelCause(type=CancelReason.RUN_CANCELLED)))

    wait_until(lambda: is_settled(system))
    assert run.is_gone
    assert stored_in(settings) == []
    assert upstream.heard[run.id, 1] == []


@pytest.mark.parametrize("script", ["echo 'Error (criu/x.c:1): this kernel is too old'; exit 1"], ids=["no criu"])
def test_a_node_where_criu_does_not_work_says_so_and_does_not_offer_it(
    system: System, upstream: Upstream, a_counting_run: StartRun
) -> None:
    """A wait there is answered with why it will have no checkpoint; the run is never touched."""
    system.start()

    assert system.logged("engine.unusable", "this kernel is too old")
    run = a_counting_run()
    answer = upstream.wait_for_task(run, delay_ms=0)
    assert not answer.will_checkpoint
    assert answer.why is not None
    upstream.complete(run)
    assert upstream.continuation(run).mode is Mode.LIVE
    run.assert_runs()

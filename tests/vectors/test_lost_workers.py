"""Workers that are killed between two steps: real processes that kill themselves right there."""

from collections.abc import Callable
from signal import SIGKILL

from runs import Run
from system import System
from upstream import Upstream
from waiting import wait_until

from shared.vocabulary import Mode
from workers.cli.kinds import WorkerKind
from workers.node.agent import be_seen
from workers.node.node import Node


def test_a_sweeper_sends_the_continuation_of_a_resume_worker_that_died(
    system: System, upstream: Upstream, node: Node, a_run: Callable[[], Run]
) -> None:
    """Vector 33: killed between `resumed_at` and the enqueue, and no other resume worker: the continuation comes."""
    run = a_run_resumed_by_a_worker_that_died(system, upstream, node, a_run)

    system.start(WorkerKind.SWEEPER)

    has_one_live_continuation(system, upstream, run)


def test_a_resume_worker_goes_on_with_what_a_dead_one_had_taken(
    system: System, upstream: Upstream, node: Node, a_run: Callable[[], Run]
) -> None:
    """Vector 33, without a sweeper: the next resume worker finds the message of the dead one, and sends."""
    run = a_run_resumed_by_a_worker_that_died(system, upstream, node, a_run)

    system.start(WorkerKind.RESUME)

    has_one_live_continuation(system, upstream, run)


def test_a_checkpoint_whose_worker_died_is_taken_once_more_by_another(
    system: System, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """Vector 42, the taker dies with the run frozen: a sweep brings another, which takes it from the beginning."""
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="take.frozen:1")
    system.start(WorkerKind.RESUME, WorkerKind.SWEEPER)
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    dies_by_itself(system, WorkerKind.CHECKPOINT)
    assert run.stands

    system.start(WorkerKind.CHECKPOINT)

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL"))
    (row,) = system.rows("SELECT status, epoch FROM checkpoint")
    assert row == {"status": "accepted", "epoch": 2}
    assert run.stands
    upstream.complete(run)
    assert upstream.continuation(run).mode is Mode.RESTORED
    assert run.goes_on()


def a_run_resumed_by_a_worker_that_died(
    system: System, upstream: Upstream, node: Node, a_run: Callable[[], Run]
) -> Run:
    """Start a run whose wait is over and resumed, and whose resume worker killed itself before it sent."""
    system.start(WorkerKind.RESUME, FAIL_AT="resumes.committed:1")
    be_seen(node)
    run = a_run()
    upstream.wait_for_task(run)
    upstream.complete(run)
    dies_by_itself(system, WorkerKind.RESUME)
    assert system.rows("SELECT id FROM dependency WHERE resumed_at IS NOT NULL")
    assert upstream.heard[run.id, 1] == []
    return run


def has_one_live_continuation(system: System, upstream: Upstream, run: Run) -> None:
    """Check that the run goes on live, and that its wait is settled with that."""
    assert upstream.continuation(run).mode is Mode.LIVE
    wait_until(lambda: system.rows("SELECT id FROM dependency WHERE done_at IS NOT NULL AND look_at IS NULL"))
    assert len({one.continuation_id for one in upstream.heard[run.id, 1]}) == 1
    assert len(system.rows("SELECT id FROM dependency")) == 1


def dies_by_itself(system: System, kind: WorkerKind) -> None:
    """Wait until the worker of a kind has killed itself."""
    (process,) = system.processes(kind)
    assert process.wait(timeout=20) == -SIGKILL
    system.kill(kind)

"""Takes of one run at one moment, and takes that come when the run has long gone on."""

from collections.abc import Callable
from threading import Lock

from at_once import at_once
from runs import Run
from system import System
from upstream import Upstream, a_completion, a_wait
from waiting import wait_until

from shared import seam
from shared.client import Checkpoints
from tests.races.in_process import Workers, a_restore, a_take, die_at, stalled_at
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take
from workers.cli.kinds import WorkerKind
from workers.node.agent import settle_what_stands
from workers.node.node import Node

ROUNDS = 15
STATUSES = "SELECT wait_number, status FROM checkpoint ORDER BY wait_number"


def test_two_workers_with_one_due_checkpoint_freeze_it_once(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The same take in two workers at one moment: one calls the engine, the other drops its message."""
    run, lock, frozen = a_run(), Lock(), 0

    def count(effect: str) -> None:
        nonlocal frozen
        if effect == "take.frozen":
            with lock:
                frozen += 1

    seam.listen(count)
    try:
        for number in range(1, ROUNDS + 1):
            client.defer(a_wait(run.id, run.workload, number, delay_ms=0))

            outcomes = at_once(*[lambda number=number: take(node, a_take(run, number))] * 2)

            assert sorted(outcomes) in [[Taken.ACCEPTED, other] for other in (Taken.BUSY, Taken.NOTHING_TO_DO)]
            assert frozen == number
            assert run.stands
            workers.resume(a_completion(run.id, number))
            assert restore(node, a_restore(run, number)) is Restored.RESTORED
    finally:
        seam.listen(None)


def test_a_take_that_stalled_over_two_waits_thaws_what_it_froze(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """It froze for wait 1 and stalled; wait 1 was continued live and wait 2 began: it lets go, wait 2 is taken."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, 1, delay_ms=0))

    with stalled_at("take.frozen", lambda: take(node, a_take(run, 1))) as stall:
        workers.resume(a_completion(run.id, 1))
        client.defer(a_wait(run.id, run.workload, 2, delay_ms=0))
        assert take(node, a_take(run, 2)) is Taken.BUSY
        assert run.stands
    assert stall.result.result() is Taken.REFUSED
    assert run.goes_on()

    assert take(node, a_take(run, 2)) is Taken.ACCEPTED
    assert run.stands
    assert workers.rows(STATUSES) == [(1, "refused"), (2, "accepted")]


def test_a_take_of_an_old_wait_leaves_the_run_that_is_frozen_for_the_next(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Its worker claimed wait 1 and was gone; wait 1 was continued live, wait 2 frozen and accepted; now it comes."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, 1, delay_ms=0))
    die_at("take.claimed", lambda: take(node, a_take(run, 1)))
    workers.resume(a_completion(run.id, 1))
    client.defer(a_wait(run.id, run.workload, 2, delay_ms=0))
    assert take(node, a_take(run, 2)) is Taken.ACCEPTED

    assert take(node, a_take(run, 1)) is Taken.DUTY_DONE
    settle_what_stands(node)

    assert run.stands
    assert workers.rows(STATUSES) == [(1, "revoked"), (2, "accepted")]
    workers.resume(a_completion(run.id, 2))
    assert restore(node, a_restore(run, 2)) is Restored.RESTORED
    assert run.goes_on()


def test_a_take_whose_wait_ended_while_its_worker_lay_dead_thaws(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Its worker froze and was gone; the wait was continued live: whoever has the take next lets the run go on."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, 1, delay_ms=0))
    die_at("take.frozen", lambda: take(node, a_take(run, 1)))
    workers.resume(a_completion(run.id, 1))
    assert run.stands

    assert take(node, a_take(run, 1)) is Taken.DUTY_DONE

    assert run.goes_on()
    assert workers.rows(STATUSES) == [(1, "revoked")]


def test_the_agent_does_not_thaw_under_a_take(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """A process that stands for a take in progress looks left behind; the agent has to let its worker finish."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, 1, delay_ms=0))
    with stalled_at("take.stored", lambda: take(node, a_take(run, 1))) as stall:
        settle_what_stands(node)
        assert run.stands
    assert stall.result.result() is Taken.ACCEPTED

    settle_what_stands(node)

    assert run.stands
    assert workers.rows(STATUSES) == [(1, "accepted")]


def test_a_worker_that_dies_frozen_is_succeeded_at_once(
    system: System, upstream: Upstream, a_run: Callable[[], Run]
) -> None:
    """A worker is killed between freeze and store: its lock goes with it, another worker of the node takes over."""
    system.start(WorkerKind.CHECKPOINT, FAIL_AT="take.frozen:1")
    run = a_run()
    upstream.wait_for_task(run, delay_ms=0)
    wait_until(lambda: system.processes(WorkerKind.CHECKPOINT)[0].poll() is not None)
    assert run.stands
    assert system.rows(STATUSES) == [{"wait_number": 1, "status": "taking"}]

    system.start()

    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE status = 'accepted' AND epoch = 2"))
    assert run.stands
    upstream.complete(run)
    upstream.continuation(run)
    assert run.goes_on()

"""Restores of one run at one moment: one brings it back, under a lease that may run out."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from at_once import at_once
from runs import Run
from upstream import a_completion, a_wait, dependency_id
from waiting import wait_until

from shared.client import Cancel, CancelCause, Checkpoints
from shared.connections import Connections
from shared.db import restores
from shared.settings import Settings
from shared.vocabulary import CancelReason
from tests.races.in_process import Workers, a_restore, a_take, stalled_at
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take
from workers.node.node import Node

ROUNDS = 15


@pytest.fixture
def without_its_lock(settings: Settings, tmp_path: Path) -> Iterator[Node]:
    """The node as a worker sees it whose folder of locks is another: only Postgres is between it and the others."""
    at = Connections.open(settings.model_copy(update={"lock_folder": tmp_path / "others"}), name="other", size=4)
    yield Node(at)
    at.close()


def freeze(workers: Workers, node: Node, client: Checkpoints, run: Run, number: int = 1) -> None:
    """Let a run wait, freeze it, and end its wait."""
    client.defer(a_wait(run.id, run.workload, number, delay_ms=0))
    assert take(node, a_take(run, number)) is Taken.ACCEPTED
    workers.resume(a_completion(run.id, number))


def test_two_restores_at_once_bring_a_run_back_once(
    workers: Workers, node: Node, without_its_lock: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The same restore in two workers, also in two that share no lock: one has the claim, one permit is given."""
    run = a_run()
    for number in range(1, ROUNDS + 1):
        freeze(workers, node, client, run, number)
        other = node if number % 2 else without_its_lock

        outcomes = at_once(
            lambda number=number: restore(node, a_restore(run, number)),
            lambda number=number, other=other: restore(other, a_restore(run, number)),
        )

        assert outcomes.count(Restored.RESTORED) == 1
        assert set(outcomes) <= {Restored.RESTORED, Restored.BUSY, Restored.NOTHING_TO_DO}
        assert run.runs
        heard = [one for one in workers.continuations(run.id) if one["wait_number"] == number]
        assert [one["mode"] for one in heard] == ["restored"]
    assert workers.rows("SELECT DISTINCT status, restores FROM checkpoint") == [("restored", 1)]


def test_a_restore_whose_lease_ran_out_is_not_permitted(
    workers: Workers, node: Node, without_its_lock: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """It stalled with its process held; another brought the run back: its own process is not let run, nor continued."""
    run = a_run()
    freeze(workers, node, client, run)

    with stalled_at("restore.held", lambda: restore(node, a_restore(run, 1))) as stall:
        assert restore(without_its_lock, a_restore(run, 1)) is Restored.NOTHING_TO_DO
        wait_until(lambda: workers.rows("SELECT FROM checkpoint WHERE lease_until <= now()"))
        assert restore(without_its_lock, a_restore(run, 1)) is Restored.RESTORED

    assert stall.result.result() is Restored.NOT_PERMITTED
    assert len(workers.continuations(run.id)) == 1
    assert workers.rows("SELECT status, epoch FROM checkpoint") == [("restored", 3)]
    assert run.goes_on()


def test_a_restore_is_not_permitted_while_another_holds_its_process(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """It stalled past its lease and another has claimed: the row is being restored, but not by it."""
    run = a_run()
    freeze(workers, node, client, run)
    lease = timedelta(minutes=1)

    with stalled_at("restore.held", lambda: restore(node, a_restore(run, 1))) as stall:
        wait_until(lambda: workers.rows("SELECT FROM checkpoint WHERE lease_until <= now()"))
        with workers.at.pool.connection() as conn:
            other = restores.claim_restore(conn, dependency_id(run.id, 1), run_id=run.id, node=node.name, lease=lease)
        assert other is not None
    assert stall.result.result() is Restored.NOT_PERMITTED
    assert workers.continuations(run.id) == []

    with workers.at.pool.connection() as conn:
        assert restores.permit(conn, other, workload=run.workload.to_json(), phases={}, grace=lease)


def test_a_run_that_is_cancelled_while_it_is_restored_is_not_permitted(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The run ends between hold and permit: it has no continuation, and what stands of it is let go."""
    run = a_run()
    freeze(workers, node, client, run)

    with stalled_at("restore.held", lambda: restore(node, a_restore(run, 1))) as stall:
        client.cancel(Cancel(v=1, run_id=run.id, reason=CancelCause(type=CancelReason.RUN_CANCELLED)))
    assert stall.result.result() is Restored.NOT_PERMITTED

    assert workers.continuations(run.id) == []
    assert take(node, a_take(run, 1)) is Taken.DUTY_DONE
    assert run.goes_on()

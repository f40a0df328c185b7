"""A run's answer at the same moment as the end of its time to answer, or of its wait: one of the two comes first."""

from collections.abc import Callable

from at_once import at_once
from runs import Run
from upstream import a_completion, a_wait, dependency_id

from shared.client import Checkpoints
from shared.db import checkpoints
from shared.db.deferrals import Deferral, apply
from shared.messages import Ready
from shared.writing import written
from tests.races.in_process import Workers, a_restore, a_take, behind_a_row, behind_a_transaction
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take
from workers.node.node import Node

ROUNDS = 15
TIME_IS_NEAR = """UPDATE checkpoint SET due_at = clock_timestamp() + %s * interval '1 ms'
                   WHERE dependency_id = %s RETURNING id"""


def test_an_answer_and_the_end_of_its_time_at_one_moment_come_to_one_ending(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """What was answered with true is frozen, all else is not, however close the two are."""
    run = a_run()
    for number in range(1, ROUNDS + 1):
        ask(client, node, run, number)
        workers.rows(TIME_IS_NEAR, number, dependency_id(run.id, number))

        is_heard, _ = at_once(
            lambda number=number: client.ready(run.id, number), lambda number=number: take(node, a_take(run, number))
        )
        last = Taken.ASKED
        while last is Taken.ASKED:  # its time is not over yet
            last = take(node, a_take(run, number))

        expected = "accepted" if is_heard else "failed"
        assert status(workers, run, number) == expected
        assert run.stands if is_heard else run.goes_on()
        end(workers, node, run, number)


def test_an_answer_and_the_end_of_the_wait_at_one_moment_come_to_one_ending(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The run goes on once: live, or from the checkpoint that came first."""
    run = a_run()
    for number in range(1, ROUNDS + 1):
        ask(client, node, run, number)

        at_once(
            lambda number=number: client.ready(run.id, number) and take(node, a_take(run, number)),
            lambda number=number: workers.resume(a_completion(run.id, number)),
        )

        end(workers, node, run, number)
        assert status(workers, run, number) in {"restored", "refused", "revoked"}


def test_an_answer_that_waits_for_the_end_of_its_wait_is_nothing(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The completion has the row first; the answer then finds that the wait is over."""
    run = a_run()
    ask(client, node, run, 1)

    with behind_a_row(workers, dependency_id(run.id, 1)) as queue:
        queue.add(lambda: workers.resume(a_completion(run.id, 1)))
        queue.add(lambda: client.ready(run.id, 1))

    assert queue.works[1].result() is False
    assert status(workers, run, 1) == "deferred"


def test_an_answer_beside_an_uncommitted_close_is_nothing(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The close has the row first, so no checkpoint is promised."""
    run = a_run()
    ask(client, node, run, 1)
    [(checkpoint_id,)] = workers.rows("UPDATE checkpoint SET due_at = now() RETURNING id")

    with behind_a_transaction(
        workers, lambda conn: checkpoints.close_unanswered(conn, checkpoint_id, error="no answer")
    ) as queue:
        # By a clock of its own the answer is in time: it began before the time was over.
        queue.add(lambda: ready_at_an_earlier_moment(workers, run))

    assert queue.works[0].result() is False
    assert status(workers, run, 1) == "failed"


def test_a_close_that_was_decided_too_early_or_too_late_closes_nothing(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """A take may have read the row long before it closes it: the row itself says whether its time is over unused."""
    run = a_run()
    ask(client, node, run, 1)
    [(checkpoint_id,)] = workers.rows("SELECT id FROM checkpoint")

    assert not close(workers, checkpoint_id)
    assert client.ready(run.id, 1)
    assert not close(workers, checkpoint_id)

    assert take(node, a_take(run, 1)) is Taken.ACCEPTED
    assert not close(workers, checkpoint_id)
    assert status(workers, run, 1) == "accepted"


def close(workers: Workers, checkpoint_id: int) -> bool:
    """Close a row as unanswered, as a take does that found it so."""
    with workers.at.pool.connection() as conn:
        return checkpoints.close_unanswered(conn, checkpoint_id, error="no answer")


def ready_at_an_earlier_moment(workers: Workers, run: Run) -> bool:
    """Answer for the first wait in a transaction whose clock shows a minute less."""
    answer = Ready(v=1, run_id=run.id, wait_number=1)
    with workers.at.pool.connection() as conn, conn.transaction():
        conn.execute("SELECT set_config('checkpoint.clock', (now() - interval '1 minute')::text, true)")
        (result,) = apply(conn, [Deferral("ready", written(answer))])
    return result.take is not None


def ask(client: Checkpoints, node: Node, run: Run, number: int) -> None:
    """Let a run wait with a handshake, and have it asked."""
    client.defer(a_wait(run.id, run.workload, number, delay_ms=0, handshake=True))
    assert take(node, a_take(run, number)) is Taken.ASKED


def end(workers: Workers, node: Node, run: Run, number: int) -> None:
    """End a wait, and check that its run has gone on from it, once."""
    workers.resume(a_completion(run.id, number))
    restored = restore(node, a_restore(run, number))
    take(node, a_take(run, number))
    workers.sweep()
    take(node, a_take(run, number))
    assert restored in {Restored.RESTORED, Restored.NOTHING_TO_DO}
    assert {one["mode"] for one in workers.continuations(run.id) if one["wait_number"] == number} == {
        "restored" if restored is Restored.RESTORED else "live"
    }
    assert run.goes_on()


def status(workers: Workers, run: Run, number: int) -> str:
    """Return the status of a wait's checkpoint."""
    return workers.rows("SELECT status FROM checkpoint WHERE dependency_id = %s", dependency_id(run.id, number))[0][0]

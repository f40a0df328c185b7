"""Sweepers at one moment: any number may look, each row is looked at once."""

from collections import Counter
from collections.abc import Callable

from at_once import at_once
from runs import Run
from upstream import a_completion, a_wait

from shared.client import Checkpoints
from shared.db.pool import connect
from shared.queues import CONTINUATIONS, RESUMES, TaskName, checkpoints_queue
from tests.races.in_process import Workers
from workers.node.node import Node
from workers.sweeper.sweeps import sweep_waits

WAITS = 200
SWEEPERS = 3


def sweep_at_once(workers: Workers) -> int:
    """Have several sweepers look at the waits; return how many rows they looked at in all."""

    def sweep() -> int:
        with connect(workers.at.settings, name="sweeper") as conn:
            return sweep_waits(workers.at, conn)

    return sum(at_once(*[sweep] * SWEEPERS))


def test_sweepers_at_once_send_each_message_once(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Takes that were lost, hints that were lost, continuations that were lost: three sweepers send each once."""
    run = a_run()
    ids = [f"{run.id}-{number}" for number in range(WAITS)]
    client.defer_many([a_wait(one, run.workload, delay_ms=0) for one in ids])
    lose(workers, checkpoints_queue(node.name))
    look_now(workers)

    assert sweep_at_once(workers) == WAITS
    sent = Counter(one["run_id"] for one in workers.sent(checkpoints_queue(node.name), TaskName.TAKE))
    assert sent == Counter(ids)

    client.complete_many([a_completion(one) for one in ids])
    lose(workers, RESUMES)
    look_now(workers)

    assert sweep_at_once(workers) == WAITS
    assert len({one["dependency_id"] for one in workers.sent(RESUMES, TaskName.RESUME)}) == WAITS
    assert workers.answer_hints() == WAITS

    lose(workers, CONTINUATIONS)
    look_now(workers)

    assert sweep_at_once(workers) == WAITS
    assert Counter(one["run_id"] for one in workers.sent(CONTINUATIONS, TaskName.CONTINUE)) == Counter(ids)
    assert workers.rows("SELECT DISTINCT sends FROM dependency") == [(2,)]


def lose(workers: Workers, queue: str) -> None:
    """Lose every message of a queue."""
    workers.at.redis.delete(workers.at.keys.queue(queue))


def look_now(workers: Workers) -> None:
    """Have every wait looked at by the next sweep."""
    workers.rows("UPDATE dependency SET look_at = now() RETURNING id")

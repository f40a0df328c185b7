"""Completions at one moment: with each other, and with the offer of a checkpoint."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from at_once import at_once
from runs import Run
from upstream import a_completion, a_wait, dependency_id

from shared.client import Checkpoints
from shared.queues import TaskName, checkpoints_queue
from shared.settings import Settings
from tests.races.in_process import Workers, a_restore, a_take, behind_a_row, stalled_at
from workers.checkpoint.restore import restore
from workers.checkpoint.take import Taken, take
from workers.node.node import Node

UPSTREAMS = 5


def test_of_five_completions_at_once_one_is_the_first(
    workers: Workers, settings: Settings, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Five upstreams complete one dependency: one is told `first`, its outcome stays, one continuation is sent."""
    run = a_run()
    with ExitStack() as stack:
        upstreams = [stack.enter_context(Checkpoints(settings)) for _ in range(UPSTREAMS)]
        for number in range(1, 11):
            client.defer(a_wait(run.id, run.workload, number))

            answers = at_once(
                *(
                    lambda upstream=upstream, outcome=outcome, number=number: upstream.complete(
                        a_completion(run.id, number, outcome)
                    )
                    for outcome, upstream in enumerate(upstreams)
                )
            )

            firsts = [outcome for outcome, answer in enumerate(answers) if answer is not None and answer.first]
            assert len(firsts) == 1
            assert workers.answer_hints() == 1
            heard = workers.continuations(run.id)[number - 1 :]
            assert [one["wait_number"] for one in heard] == [number]
            assert heard[0]["outcomes"][dependency_id(run.id, number)]["value"] == firsts[0]


def test_of_five_resume_workers_with_the_same_completion_one_resumes(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """A message that five workers have at once resumes its wait once: whatever is sent says the same."""
    run = a_run()
    for number in range(1, 11):
        client.defer(a_wait(run.id, run.workload, number))

        at_once(
            *(
                lambda outcome=outcome, number=number: workers.resume(a_completion(run.id, number, outcome))
                for outcome in range(UPSTREAMS)
            )
        )

        heard = [one for one in workers.continuations(run.id) if one["wait_number"] == number]
        assert heard
        assert all(one == heard[0] for one in heard)


def test_batches_in_opposite_orders_do_not_wait_for_each_other(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Two resume workers with the same completions lock rows in one order: neither has what the other needs."""
    run = a_run()
    others = sorted(f"{run.id}-{number}" for number in range(40))
    client.defer_many([a_wait(other, run.workload) for other in others])
    completions = [a_completion(other) for other in others]

    with behind_a_row(workers, dependency_id(others[0], 1)) as queue:
        queue.add(lambda: workers.resume(*completions))
        queue.add(lambda: workers.resume(*reversed(completions)))
        free = workers.rows("SELECT id FROM dependency FOR UPDATE SKIP LOCKED")

    # Both waited for the first, and had no other yet.
    assert len(free) == len(others) - 1
    assert workers.rows("SELECT count(*), count(resumed_at) FROM dependency") == [(40, 40)]


@pytest.mark.parametrize("is_offer_first", [True, False])
def test_of_an_offer_and_a_completion_exactly_one_comes_first(
    is_offer_first: bool,  # noqa: FBT001  # the parameter of the test
    workers: Workers,
    node: Node,
    client: Checkpoints,
    a_run: Callable[[], Run],
) -> None:
    """Both wait for the row: whoever has it first decides whether the run goes on live or from its checkpoint."""
    run = a_run()
    client.defer(a_wait(run.id, run.workload, delay_ms=0))

    with stalled_at("take.stored", lambda: take(node, a_take(run, 1))) as stall:
        with behind_a_row(workers, dependency_id(run.id, 1)) as queue:
            works: list[Callable[[], Any]] = [lambda: (stall.go.set(), stall.result.result())]
            works.insert(0 if not is_offer_first else 1, lambda: workers.resume(a_completion(run.id)))
            for work in works:
                queue.add(work)
        outcome = stall.result.result()

    check(workers, node, run, 1, is_accepted=is_offer_first)
    assert outcome is (Taken.ACCEPTED if is_offer_first else Taken.REFUSED)


def test_offers_and_completions_at_once(
    workers: Workers, node: Node, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Offer and completion, let go at one moment again and again, never both come first, and never neither."""
    run = a_run()
    for number in range(1, 21):
        client.defer(a_wait(run.id, run.workload, number, delay_ms=0))
        with stalled_at("take.stored", lambda number=number: take(node, a_take(run, number))) as stall:
            at_once(stall.go.set, lambda number=number: workers.resume(a_completion(run.id, number)))
            outcome = stall.result.result()

        check(workers, node, run, number, is_accepted=outcome is Taken.ACCEPTED)
        if outcome is Taken.ACCEPTED:
            restore(node, a_restore(run, number))
            assert run.runs


def check(workers: Workers, node: Node, run: Run, number: int, *, is_accepted: bool) -> None:
    """Either the run stands and a restore is sent, or it runs and a live continuation is."""
    query = "SELECT checkpoint_id IS NOT NULL, resumed_at IS NOT NULL FROM dependency WHERE id = %s"
    assert workers.rows(query, dependency_id(run.id, number)) == [(is_accepted, True)]
    restores = [one["wait_number"] for one in workers.sent(checkpoints_queue(node.name), TaskName.RESTORE)]
    modes = [one["mode"] for one in workers.continuations(run.id) if one["wait_number"] == number]
    assert restores.count(number) == int(is_accepted)
    assert modes == ([] if is_accepted else ["live"])
    assert run.stands is is_accepted

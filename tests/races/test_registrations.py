"""Registrations at one moment with what ends their waits, and with each other."""

from collections.abc import Callable

import pytest
from at_once import at_once
from runs import Run
from upstream import a_completion, a_wait, dependency_id

from shared.client import Cancel, CancelCause, Checkpoints, Defer, Dependency, Refused
from shared.db.deferrals import DeferAnswer
from shared.queues import RESUMES, TaskName
from shared.vocabulary import CancelReason
from tests.races.in_process import Workers, behind_a_transaction

ROUNDS = 20
STATES = (
    "SELECT resumed_at IS NOT NULL, cancelled_at IS NOT NULL FROM dependency WHERE run_id IS NOT NULL AND run_id = %s"
)


def over(run_id: str) -> Cancel:
    """Return the cancel of a run."""
    return Cancel(v=1, run_id=run_id, reason=CancelCause(type=CancelReason.RUN_CANCELLED))


def answer_of(client: Checkpoints, wait: Defer) -> DeferAnswer | str:
    """Register a wait; return the answer, or the code of the refusal."""
    try:
        answer = client.defer(wait)
    except Refused as refused:
        return refused.code
    assert answer is not None
    return answer


def test_a_completion_that_meets_an_uncommitted_registration_resumes_it(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The completion waits for the registration's commit, and resumes the wait: it is not told to nobody."""
    run = a_run()
    wait = a_wait(run.id, run.workload)

    with behind_a_transaction(workers, lambda conn: client.defer(wait, conn=conn)) as queue:
        queue.add(lambda: workers.resume(a_completion(run.id, outcome="done")))

    (heard,) = workers.continuations(run.id)
    assert heard["outcomes"][dependency_id(run.id, 1)]["value"] == "done"


def test_a_registration_that_meets_an_uncommitted_completion_finds_it(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The registration waits for the completion's commit, and is complete at once: it does not wait for ever."""
    run = a_run()

    with behind_a_transaction(workers, lambda conn: client.complete(a_completion(run.id), conn=conn)) as queue:
        queue.add(lambda: workers.register(a_wait(run.id, run.workload)))

    assert workers.rows("SELECT why FROM dependency") == [("already-complete",)]
    assert workers.sent(RESUMES, TaskName.RESUME)
    workers.answer_hints()
    assert len(workers.continuations(run.id)) == 1


@pytest.mark.parametrize("is_registration_first", [True, False])
def test_what_was_rolled_back_meets_nobody(
    is_registration_first: bool,  # noqa: FBT001  # the parameter of the test
    workers: Workers,
    client: Checkpoints,
    a_run: Callable[[], Run],
) -> None:
    """A registration or completion that is undone after the other waited for it counts as one that never was."""
    run = a_run()
    wait, completion = a_wait(run.id, run.workload), a_completion(run.id)
    works: list[Callable[[], object]] = [lambda: workers.register(wait), lambda: workers.resume(completion)]
    other = works[int(is_registration_first)]

    with behind_a_transaction(
        workers,
        lambda conn: client.defer(wait, conn=conn) if is_registration_first else client.complete(completion, conn=conn),
        is_undone=True,
    ) as queue:
        queue.add(other)

    expected = (False, True) if is_registration_first else (True, False)
    assert workers.rows("SELECT run_id IS NOT NULL, completed_at IS NOT NULL FROM dependency") == [expected]
    # Said once more, as an upstream does that had no answer: now they find each other.
    works[int(not is_registration_first)]()
    workers.answer_hints()
    assert len(workers.continuations(run.id)) == 1


def test_registrations_and_completions_at_once_are_never_lost(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Each in a transaction of its own, at one moment, through every door: the wait is resumed whatever comes first."""
    run = a_run()
    for number in range(1, ROUNDS + 1):
        wait, completion = a_wait(run.id, run.workload, number), a_completion(run.id, number)

        if number % 2:
            at_once(lambda wait=wait: client.defer(wait), lambda completion=completion: client.complete(completion))
        else:
            at_once(lambda wait=wait: workers.register(wait), lambda completion=completion: workers.resume(completion))

        workers.answer_hints()
        assert workers.rows(STATES, run.id) == [(True, False)] * number


def test_a_registration_behind_a_cancel_of_its_run_is_refused(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """A wait that comes while its run is being cancelled has to know: it is refused, and nothing stays open."""
    run = a_run()

    with behind_a_transaction(workers, lambda conn: client.cancel(over(run.id), conn=conn)) as queue:
        queue.add(lambda: answer_of(client, a_wait(run.id, run.workload)))

    assert queue.works[0].result() == "run-over"
    assert workers.rows(STATES, run.id) == []


def test_a_cancel_behind_a_registration_ends_it(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """A cancel that comes while a wait is being registered has to see it."""
    run = a_run()
    wait = a_wait(run.id, run.workload)

    with behind_a_transaction(workers, lambda conn: client.defer(wait, conn=conn)) as queue:
        queue.add(lambda: client.cancel(over(run.id)))

    assert workers.rows(STATES, run.id) == [(False, True)]


def test_registrations_and_cancels_at_once_leave_nothing_open(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """At one moment, again and again: the wait is refused, or registered and ended."""
    run = a_run()
    for number in range(ROUNDS):
        run_id = f"{run.id}-{number}"

        answer, _ = at_once(
            lambda run_id=run_id: answer_of(client, a_wait(run_id, run.workload)),
            lambda run_id=run_id: client.cancel(over(run_id)),
        )

        assert workers.rows(STATES, run_id) == ([] if answer == "run-over" else [(False, True)])


def test_of_two_registrations_of_one_run_at_once_one_is_open(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """Two waits of one run at one moment: one begins, the other is told why not."""
    run = a_run()
    for number in range(ROUNDS):
        run_id = f"{run.id}-{number}"
        waits = [a_wait(run_id, run.workload, 1), a_wait(run_id, run.workload, 2)]
        if number % 2:
            waits[1] = a_wait(run_id, run.workload, 1, dependency=Dependency(f"{run_id}/another"))

        answers = at_once(*(lambda wait=wait: answer_of(client, wait) for wait in waits))

        refusals = [answer for answer in answers if isinstance(answer, str)]
        assert len(refusals) == 1
        assert refusals[0] in {"checkpoint-in-progress", "wait-conflict"}
        assert workers.rows(STATES, run_id) == [(False, False)]


def test_one_registration_twice_at_once_is_one_wait(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """An upstream that repeats itself at one moment: one answer is the first, the other says `duplicate`."""
    run = a_run()
    for number in range(5 * ROUNDS):
        wait = a_wait(f"{run.id}-{number}", run.workload)

        answers = at_once(lambda wait=wait: client.defer(wait), lambda wait=wait: client.defer(wait))

        assert sorted(answer.duplicate for answer in answers if answer) == [False, True]
        assert workers.rows(STATES, wait.run_id) == [(False, False)]


def test_a_repeat_does_not_count_against_the_limit_of_its_key(
    workers: Workers, client: Checkpoints, a_run: Callable[[], Run]
) -> None:
    """The last wait that a key has room for, said twice at one moment, is not refused to the one who says it again."""
    run = a_run()
    workers.rows("UPDATE setting SET value = '1' WHERE name = 'open_waits_per_key' RETURNING name")
    wait = a_wait(run.id, run.workload, key="thumbnails")

    with behind_a_transaction(workers, lambda conn: client.defer(wait, conn=conn)) as queue:
        queue.add(lambda: answer_of(client, wait))

    answer = queue.works[0].result()
    assert isinstance(answer, DeferAnswer)
    assert answer.duplicate
    assert answer_of(client, a_wait(f"{run.id}-other", run.workload, key="thumbnails")) == "too-many-waits"

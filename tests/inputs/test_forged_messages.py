"""Messages between our own workers, forged: each is only a hint, and Postgres says that there is nothing to do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from by_hand import LATER, ByHand
from runs import Run
from upstream import a_completion, dependency_id

from shared.client import Cancel, CancelCause
from shared.messages import Restore, Resume, Take, Workload
from shared.post import envelope
from shared.queues import RESUMES, TaskName
from shared.vocabulary import CancelReason, Mode
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.take import Taken, take

HOUR_MS: Final = 3_600_000


def test_a_take_of_a_foreign_row_touches_nothing(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Another run's dependency, one of another node, one that nobody knows: no row, no freeze, whoever it names."""
    mine, other, away = (a_run() for _ in range(3))
    for run in (mine, other):
        hand.wait_for_task(run, delay_ms=0)
    away.workload = Workload.from_json(away.workload.to_json() | {"node": "elsewhere"})
    hand.wait_for_task(away, delay_ms=0)
    forged = [
        a_take(other, run_id=mine.id),
        a_take(mine, dependency_id=dependency_id(other.id, 1)),
        a_take(away),
        a_take(mine, dependency_id="unknown"),
        a_take(mine, run_id="unknown"),
    ]

    ended = [take(hand.node, message) for message in forged]

    assert ended == [Taken.NOTHING_TO_DO] * len(forged)
    assert [hand.checkpoint_row(run) for run in (mine, other, away)] == [None] * 3
    assert all(run.runs for run in (mine, other, away))


def test_a_take_of_another_wait_number_takes_the_wait_that_is_there(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """The number only finds a token: the row's own is what is frozen, and what a token can stop."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)

    assert take(hand.node, a_take(run, wait_number=99)) is Taken.ACCEPTED

    row = hand.checkpoint_row(run)
    assert row is not None
    assert row["wait_number"] == 1
    hand.complete(run)
    assert hand.continuations() == []
    # Its own take, which came too late, and its restore.
    assert hand.checkpoint_worker() == [Taken.REVOKED_IN_DELAY, Restored.RESTORED]
    assert run.goes_on()


def completed(hand: ByHand, run: Run) -> None:
    """End the wait, and let its run go on live."""
    hand.wait_for_task(run, delay_ms=0)
    hand.complete(run)


def cancelled(hand: ByHand, run: Run) -> None:
    """End the run."""
    hand.wait_for_task(run, delay_ms=0)
    hand.client.cancel(Cancel(v=1, run_id=run.id, reason=CancelCause(CancelReason.RUN_CRASHED)))


def called_off(hand: ByHand, run: Run) -> None:
    """Call off the checkpoint."""
    hand.wait_for_task(run, delay_ms=0)
    hand.client.cancel(Cancel(v=1, run_id=run.id, wait_number=1, reason=CancelCause(CancelReason.MANUAL)))


def restored(hand: ByHand, run: Run) -> None:
    """Freeze the run, end its wait and bring it back."""
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)
    assert hand.checkpoint_worker() == [Restored.RESTORED]


@pytest.mark.parametrize("is_first", [True, False], ids=["as the countdown's own", "as a sweep's"])
@pytest.mark.parametrize("over", [completed, cancelled, called_off, restored])
def test_a_take_of_a_wait_that_is_over_freezes_nobody(
    over: Callable[[ByHand, Run], None],
    is_first: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """However it ended, with its token and without."""
    run = a_run()
    over(hand, run)
    before = hand.wait_row(run), hand.checkpoint_row(run)
    hand.lose_messages()

    assert take(hand.node, a_take(run, first=is_first)) is Taken.NOTHING_TO_DO

    assert (hand.wait_row(run), hand.checkpoint_row(run)) == before
    assert run.goes_on()


def test_a_take_of_a_frozen_run_leaves_it_frozen(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """It neither thaws it nor takes it again."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    before = hand.checkpoint_row(run)

    assert [take(hand.node, a_take(run, first=first)) for first in (True, False)] == [Taken.NOTHING_TO_DO] * 2

    assert hand.checkpoint_row(run) == before
    assert run.stands


def test_a_take_that_is_not_due_yet_waits_for_the_rest(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """However often it is forged: put back for what is left of the delay, once, and taken then."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=30_000)
    hand.lose_messages()

    ended = [take(hand.node, a_take(run, first=first)) for first in (True, False, False)]

    assert ended == [Taken.EARLY] * 3
    assert run.runs
    assert hand.checkpoint_row(run) is None
    [due] = hand.held()
    assert abs(due - hand.wait_row(run)["due_at"]) < timedelta(seconds=10)
    hand.time_passes(run, seconds=30)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]


def test_a_restore_brings_nobody_back_whose_wait_is_not_over(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Of a run that is frozen, and of one that is not: each stays as it is."""
    frozen, alive = a_run(), a_run()
    hand.wait_for_task(frozen, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.wait_for_task(alive, delay_ms=30_000)
    before = hand.checkpoint_row(frozen)

    assert [restore(hand.node, a_restore(run)) for run in (frozen, alive)] == [Restored.NOTHING_TO_DO] * 2

    assert hand.checkpoint_row(frozen) == before
    assert (frozen.stands, alive.runs, hand.continuations()) == (True, True, [])


def test_a_restore_under_the_id_of_another_run_brings_nobody_back(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """It would hold the lock of the other: the run that it names is not the one that waited."""
    run, other = a_run(), a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)

    assert restore(hand.node, a_restore(run, run_id=other.id)) is Restored.NOTHING_TO_DO

    assert run.stands
    assert hand.checkpoint_worker() == [Restored.RESTORED]


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "alive"])
def test_a_hint_does_not_end_an_open_wait(
    is_frozen: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """`dependency.resume` acts only on what Postgres calls complete; the real end comes through all the same."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0 if is_frozen else 30_000)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED] * is_frozen
    before = hand.wait_row(run)

    hand.resume_worker(*(a_hint(name) for name in (dependency_id(run.id, 1), "unknown", dependency_id(run.id, 1))))

    assert hand.wait_row(run) == before
    assert (hand.continuations(), hand.checkpoint_worker(), run.stands) == ([], [], is_frozen)
    hand.complete(run)
    assert hand.checkpoint_worker() == [Restored.RESTORED] * is_frozen
    assert hand.continuation().mode is (Mode.RESTORED if is_frozen else Mode.LIVE)


def cancelled_when_complete(hand: ByHand, run: Run) -> None:
    """End the run when what it waits for is over and nobody has resumed it yet."""
    hand.wait_for_task(run, delay_ms=0)
    hand.client.complete(a_completion(run.id))
    hand.client.cancel(Cancel(v=1, run_id=run.id, reason=CancelCause(CancelReason.RUN_CRASHED)))


@pytest.mark.parametrize("over", [completed, cancelled, cancelled_when_complete])
def test_a_hint_does_not_continue_what_is_over(
    over: Callable[[ByHand, Run], None], hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """A wait that was cancelled gets no continuation, one that is done no second one."""
    run = a_run()
    over(hand, run)
    hand.client.done(dependency_id(run.id, 1))
    before, heard = hand.wait_row(run), hand.continuations()

    hand.resume_worker(a_hint(dependency_id(run.id, 1)))
    hand.sweeper(ahead=LATER)

    assert (hand.wait_row(run), hand.continuations()) == (before, heard)


def a_take(run: Run, **fields: Any) -> Take:
    """Return a take of a run's first wait, with whatever fields are given in place of its own."""
    usual: dict[str, Any] = {"v": 1, "dependency_id": dependency_id(run.id, 1), "run_id": run.id, "wait_number": 1}
    return Take(**(usual | fields))


def a_restore(run: Run, **fields: Any) -> Restore:
    """Return a restore of a run's first wait, with whatever fields are given in place of its own."""
    usual: dict[str, Any] = {"v": 1, "dependency_id": dependency_id(run.id, 1), "run_id": run.id, "wait_number": 1}
    return Restore(**(usual | fields))


def a_hint(name: str) -> bytes:
    """Return a hint that a dependency may be complete."""
    return envelope(TaskName.RESUME, Resume(v=1, dependency_id=name), task_id="forged", queue=RESUMES)

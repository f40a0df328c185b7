"""Runs that wait for each other: nobody looks for circles; the timeline shows one, and a cancel ends it."""

from collections.abc import Callable

import pytest
from by_hand import LATER, ByHand
from runs import Run

from shared.client import Cancel, CancelCause, Complete, Dependency
from shared.vocabulary import CancelReason, Mode, OutcomeType
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


@pytest.mark.parametrize("is_frozen", [True, False], ids=["frozen", "alive"])
def test_runs_that_wait_for_each_other_wait_until_one_is_cancelled(
    is_frozen: bool,  # noqa: FBT001  # the parameter of the test
    hand: ByHand,
    a_run: Callable[[], Run],
) -> None:
    """A waits for B, B for C, C for A: none goes on by itself; A cancelled, its end resumes C, and so on to B."""
    a, b, c = runs = [a_run() for _ in range(3)]
    circle = {a.id: b.id, b.id: c.id, c.id: a.id}
    for run in runs:
        hand.wait_for_task(run, delay_ms=0 if is_frozen else 30_000, dependency=Dependency(circle[run.id]))
    assert hand.checkpoint_worker() == [Taken.ACCEPTED] * (3 if is_frozen else 0)
    assert shown(hand) == circle
    hand.sweeper(ahead=LATER)
    hand.resume_worker()
    assert (hand.continuations(), [run.stands for run in runs]) == ([], [is_frozen] * 3)

    said = hand.client.cancel(Cancel(v=1, run_id=a.id, reason=CancelCause(CancelReason.RUN_CANCELLED)))
    hand.sweeper(ahead=LATER)
    hand.checkpoint_worker()

    assert said is not None
    assert said.wait_ended
    assert (hand.continuations(), [run.stands for run in runs]) == ([], [False, is_frozen, is_frozen])
    # What A and C were for the others is over, as their upstream knows.
    for over, outcome_type, waiter in ((a, OutcomeType.CANCELLED, c), (c, OutcomeType.FAILURE, b)):
        hand.client.complete(Complete(v=1, dependency_id=over.id, outcome_type=outcome_type))
        hand.resume_worker()
        assert hand.checkpoint_worker() == [Restored.RESTORED] * is_frozen
        heard = hand.continuations()[-1]
        assert (heard.run_id, heard.mode) == (waiter.id, Mode.RESTORED if is_frozen else Mode.LIVE)
        assert heard.outcomes is not None
        assert heard.outcomes[over.id].type == outcome_type
        assert waiter.goes_on()
    assert {one.run_id for one in hand.continuations()} == {b.id, c.id}


def shown(hand: ByHand) -> dict[str, str]:
    """Return which run waits for what, as the timeline shows it."""
    query = "SELECT run_id, detail ->> 'dependency_id' FROM run_timeline WHERE event = 'wait.registered'"
    with hand.at.pool.connection() as conn:
        return dict(conn.execute(query))

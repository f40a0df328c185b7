"""What tests of the handshake have in common: its time, the row that waits for an answer, and the wait after it."""

from datetime import timedelta
from typing import Any

from by_hand import ByHand
from runs import Run
from upstream import dependency_id

from shared.db import runs
from shared.messages import Take
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


def patience(hand: ByHand) -> timedelta:
    """Return how long a run may take to answer."""
    return timedelta(milliseconds=hand.at.settings.handshake_ms)


def time_to_answer_ends(hand: ByHand, run: Run) -> None:
    """Make what the checkpoint's row waits for be over: the time to answer, or the delay before another try."""
    with hand.at.pool.connection() as conn:
        conn.execute(
            "UPDATE checkpoint SET due_at = now(), look_at = now() WHERE dependency_id = %s",
            [dependency_id(run.id, 1)],
        )


def next_wait_is_frozen(hand: ByHand, run: Run) -> None:
    """Check that the run's second wait is asked, frozen and brought back, whatever became of its first."""
    hand.lose_messages()
    hand.wait_for_task(run, 2, delay_ms=0, handshake=True)
    assert hand.checkpoint_worker() == [Taken.ASKED]
    assert hand.client.ready(run.id, 2) is True
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.stands
    hand.complete(run, 2)
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().wait_number == 2
    assert run.goes_on()


def a_take(run: Run) -> Take:
    """Return the take of a run's first wait, as a sweep sends it."""
    return Take(v=1, dependency_id=dependency_id(run.id, 1), run_id=run.id, wait_number=1)


def state_of(hand: ByHand, run: Run) -> str:
    """Return in what state the run is listed."""
    with hand.at.pool.connection() as conn:
        return runs.waits(conn, run.id)[0].state


def status(hand: ByHand, run: Run) -> dict[str, Any]:
    """Return the checkpoint's row of the first wait."""
    row = hand.checkpoint_row(run)
    assert row is not None
    return row

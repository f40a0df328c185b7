"""A run that we keep still sends no heartbeat; the view `run_heartbeat` answers for it, so that it is no crash."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from by_hand import AtEffect, ByHand
from runs import Run

from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


def heartbeat(hand: ByHand, run: Run) -> tuple[str, datetime | None, bool]:
    """Return what a platform finds before it fails a run: its state, since when it stands, who answers for it."""
    query = "SELECT state, frozen_since, is_answered_for FROM run_heartbeat WHERE run_id = %s"
    with hand.at.pool.connection() as conn:
        row: Any = conn.execute(query, (run.id,)).fetchone()
    return row


def test_a_frozen_run_is_answered_for_as_long_as_a_node_can_bring_it_back(
    hand: ByHand, a_run: Callable[[], Run], at_effect: AtEffect
) -> None:
    """Also while its checkpoint is taken and while it is brought back; not before, not after."""
    run = a_run()
    meanwhile: list[tuple[str, datetime | None, bool]] = []
    hand.wait_for_task(run, delay_ms=0)
    assert heartbeat(hand, run) == ("deferred", None, False)

    at_effect("take.frozen", lambda: meanwhile.append(heartbeat(hand, run)))
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert [(state, answered) for state, _, answered in meanwhile] == [("taking", True)]
    row = hand.checkpoint_row(run)
    assert row is not None
    assert heartbeat(hand, run) == ("frozen", row["accepted_at"], True)

    hand.complete(run)
    at_effect("restore.held", lambda: meanwhile.append(heartbeat(hand, run)))
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert meanwhile[1] == ("restoring", row["accepted_at"], True)
    assert heartbeat(hand, run) == ("continuing", None, False)


def test_nobody_answers_for_a_frozen_run_whose_node_is_silent(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """It stands where it stood, but nobody knows whether it will ever go on: its platform decides."""
    run = a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]

    hand.see_node_at(timedelta(hours=-1))

    state, since, is_answered_for = heartbeat(hand, run)
    assert (state, since is None, is_answered_for) == ("frozen", False, False)

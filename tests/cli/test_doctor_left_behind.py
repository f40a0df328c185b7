"""`checkpoints doctor` counts what could not be removed, by why it is still there."""

from collections.abc import Callable

import psycopg
import pytest
from by_hand import ByHand
from command_line import verdicts
from runs import Run

from shared.client import Checkpoints
from shared.settings import Settings
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken
from workers.node.node import Node


@pytest.fixture
def a_restored_run(node: Node, client: Checkpoints, a_run: Callable[[], Run]) -> Run:
    """A run that was brought back, and of which nothing is left behind."""
    hand, run = ByHand(node, client), a_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.complete(run)
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    return run


def as_if(settings: Settings, statement: bytes) -> None:
    """Have a row look as if a worker had not come so far."""
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        conn.execute(statement)


HOUR_AGO = b"restored_at = restored_at - interval '1 hour', look_at = now(), discarded_at = NULL"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (b"UPDATE checkpoint SET " + HOUR_AGO, "the image could not be removed: 1"),
        (b"UPDATE checkpoint SET freed_at = NULL, " + HOUR_AGO, "the old process has not ended: 1"),
        (
            b"WITH n AS (UPDATE node SET seen_at = seen_at - interval '1 day') UPDATE checkpoint SET " + HOUR_AGO,
            "its node is silent: 1",
        ),
        (
            b"INSERT INTO left_on_node SELECT 'another', id FROM checkpoint",
            "a silent node may hold what it restored in vain: 1",
        ),
    ],
)
def test_each_reason_is_told(settings: Settings, a_restored_run: Run, rows: bytes, says: str) -> None:
    """A warning with the number; what to look for is told with it."""
    _ = a_restored_run
    assert verdicts(settings)[1]["left behind"][0] == "ok"

    as_if(settings, rows)

    verdict, text = verdicts(settings)[1]["left behind"]
    assert (verdict, says in text) == ("warn", True)


def test_what_was_just_done_is_not_left_behind(settings: Settings, a_restored_run: Run) -> None:
    """A worker may still be at it."""
    _ = a_restored_run

    as_if(settings, b"UPDATE checkpoint SET look_at = now(), discarded_at = NULL")

    assert verdicts(settings)[1]["left behind"][0] == "ok"

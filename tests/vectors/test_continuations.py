"""Continuations: sent again with growing gaps and without end until `done`, whoever claims them meanwhile."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from by_hand import ByHand
from runs import Run
from upstream import dependency_id

from shared.messages import Done
from shared.post import envelope
from shared.queues import RESUMES, TaskName
from shared.settings import Settings
from shared.vocabulary import Mode
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

FIRST, MOST = timedelta(seconds=10), timedelta(minutes=10)
MOMENT = timedelta(milliseconds=1)
YEAR = timedelta(days=365)
REPEATS = 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with the defaults of what is sent again."""
    names = ("resend_first_ms", "resend_max_ms", "continuation_lease_ms")
    return settings.model_copy(update={name: Settings.model_fields[name].default for name in names})


@pytest.mark.parametrize("mode", list(Mode))
def test_a_continuation_is_sent_again_until_it_is_done(mode: Mode, hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Each gap is as long as all before it, at most ten minutes and a tenth; nothing is sent before its time."""
    run = a_run()
    resumed_at = a_resumed_wait(hand, run, mode)

    for repeats in range(REPEATS):
        at = hand.wait_row(run)["look_at"]
        hand.sweeper(at=at - MOMENT)
        assert len(hand.continuations()) == 1 + repeats
        hand.sweeper(at=at)
        gap = hand.wait_row(run)["look_at"] - at
        assert max(FIRST, min(MOST, at - resumed_at)) <= gap <= MOST * 1.1

    heard = hand.continuations()
    assert (len(heard), heard[0].mode) == (1 + REPEATS, mode)
    assert all(one == heard[0] for one in heard)
    assert hand.wait_row(run)["look_at"] - resumed_at > MOST * (REPEATS - 10)
    assert hand.client.done(heard[0].continuation_id)
    hand.sweeper(at=resumed_at + YEAR)
    assert len(hand.continuations()) == 1 + REPEATS


def test_a_continuation_that_nobody_heard_for_a_year_is_still_sent(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """It is never dropped; the next gap is no longer than any."""
    run = a_run()
    late = a_resumed_wait(hand, run) + YEAR
    hand.lose_messages()

    hand.sweeper(at=late)

    assert hand.continuation().mode is Mode.LIVE
    assert MOST <= hand.wait_row(run)["look_at"] - late <= MOST * 1.1


def test_a_claim_thins_out_repeats_and_stops_none(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """True for one until its lease is over without `done`, then for one more; it is sent again all the time."""
    run = a_run()
    a_resumed_wait(hand, run)

    assert claims(hand, run) == [True, False]
    hand.sweeper(at=hand.wait_row(run)["look_at"])
    assert len(hand.continuations()) == 2
    lease_ends = hand.wait_row(run)["claimed_until"]
    assert claims(hand, run, at=lease_ends - MOMENT) == [False, False]
    assert claims(hand, run, at=lease_ends) == [True, False]
    assert hand.client.done(dependency_id(run.id, 1))
    assert claims(hand, run, at=lease_ends + YEAR) == [False, False]


def test_done_is_heard_over_the_broker_and_twice_is_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Twice in one batch, and once more a year later: the first counts, nothing is sent again."""
    run = a_run()
    resumed_at = a_resumed_wait(hand, run)

    hand.resume_worker(a_done(run), a_done(run))
    done_at = hand.wait_row(run)["done_at"]
    hand.sweeper(at=resumed_at + YEAR)
    hand.resume_worker(a_done(run))

    assert (hand.wait_row(run)["done_at"], hand.wait_row(run)["look_at"]) == (done_at, None)
    assert done_at is not None
    assert len(hand.continuations()) == 1


def test_done_before_the_continuation_was_sent_changes_nothing(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Of a wait that is open, and of one that nobody knows: the continuation comes when the wait ends."""
    run = a_run()
    hand.resume_worker(a_done(run))
    hand.wait_for_task(run)
    hand.resume_worker(a_done(run))

    hand.complete(run)

    assert hand.continuation().mode is Mode.LIVE
    assert hand.wait_row(run)["done_at"] is None


def test_done_of_an_old_attempt_leaves_the_new_ones_continuation(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Attempt 1 says late that it has gone on; attempt 2 is told until it says so itself."""
    run = a_run()
    a_resumed_wait(hand, run)
    hand.wait_for_task(run, 2, attempt=2)
    hand.complete(run, 2)

    hand.resume_worker(a_done(run))
    hand.sweeper(at=hand.wait_row(run, 2)["look_at"])

    assert [(one.attempt, one.wait_number) for one in hand.continuations()] == [(1, 1), (2, 2), (2, 2)]
    assert hand.wait_row(run, 2)["done_at"] is None


def test_a_run_that_waits_again_has_its_continuation(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Its next wait says that it has gone on from the last: that one is sent no more, and nobody has to say `done`."""
    run = a_run()
    resumed_at = a_resumed_wait(hand, run)

    hand.wait_for_task(run, 2, delay_ms=172_800_000)
    hand.sweeper(at=resumed_at + timedelta(days=1))

    assert len(hand.continuations()) == 1
    assert hand.wait_row(run)["done_at"] is not None


def a_resumed_wait(hand: ByHand, run: Run, mode: Mode = Mode.LIVE) -> datetime:
    """Register a run's first wait and have it resumed so, and sent once; return when that was."""
    hand.wait_for_task(run, delay_ms=0 if mode is Mode.RESTORED else 30_000)
    assert hand.checkpoint_worker() == ([Taken.ACCEPTED] if mode is Mode.RESTORED else [])
    hand.complete(run)
    assert hand.checkpoint_worker() == ([Restored.RESTORED] if mode is Mode.RESTORED else [])
    assert hand.continuation().mode is mode
    return hand.wait_row(run)["resumed_at"]


def claims(hand: ByHand, run: Run, *, at: datetime | None = None) -> list[Any]:
    """Claim a continuation twice, now or at another moment."""
    with hand.at.pool.connection() as conn, conn.transaction():
        conn.execute("SELECT set_config('checkpoint.clock', coalesce(%s, now())::text, true)", [at])
        query = "SELECT claim_continuation(%s)"
        return [conn.execute(query, [dependency_id(run.id, 1)]).fetchall()[0][0] for _ in range(2)]


def a_done(run: Run) -> bytes:
    """Return the message that a run has gone on from its first wait."""
    done = Done(v=1, continuation_id=dependency_id(run.id, 1))
    return envelope(TaskName.DONE, done, task_id="done", queue=RESUMES)

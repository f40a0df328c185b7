"""Batches as stories: sealed last, counted once, of nothing, never sealed, of ten thousand, of large outcomes."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from by_hand import LATER, ByHand
from runs import Run
from upstream import dependency_id

from shared.client import Complete, Dependency
from shared.db.statements import only
from shared.messages import Outcome
from shared.post import envelope
from shared.queues import RESUMES, TaskName
from shared.settings import Settings
from shared.vocabulary import Mode, OutcomeType, WaitReason
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken

SIZE_MAX = 10_000
PART = 500


@pytest.mark.parametrize("mode", list(Mode))
def test_a_batch_that_is_sealed_last_is_over_then(mode: Mode, hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vectors 25 and 26: items end at 1, 2, 3, one is reported twice; sealed at 4 it is resumed, with all of them."""
    run = a_run()
    wait_for_batch(hand, run, "abc", sealed=False, delay_ms=0 if mode is Mode.RESTORED else 30_000)
    assert hand.checkpoint_worker() == ([Taken.ACCEPTED] if mode is Mode.RESTORED else [])

    for said in (
        an_end(run, "a"),
        an_end(run, "b", OutcomeType.FAILURE),
        an_end(run, "b"),
        an_end(run, "c", OutcomeType.CRASHED),
    ):
        hand.resume_worker(said)
        assert hand.continuations() == []
    hand.resume_worker(a_message(run, sealed=True))

    assert hand.checkpoint_worker() == ([Restored.RESTORED] if mode is Mode.RESTORED else [])
    heard = hand.continuation()
    assert (heard.mode, heard.outcomes) == (
        mode,
        {"a": Outcome("success", "a"), "b": Outcome("failure", "b"), "c": Outcome("crashed", "c")},
    )
    assert run.goes_on()


def test_a_batch_of_nothing_goes_on_at_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 27: nothing is pending: no countdown, no checkpoint, a live continuation without outcomes."""
    run = a_run()
    wait_for_batch(hand, run, "", delay_ms=0)

    assert (hand.held(), hand.checkpoint_worker()) == ([], [])
    hand.resume_worker()

    assert (hand.continuation().mode, hand.continuation().outcomes) == (Mode.LIVE, {})


@pytest.mark.parametrize("mode", list(Mode))
def test_a_batch_that_is_never_sealed_tells_its_parent(
    mode: Mode, hand: ByHand, settings: Settings, a_run: Callable[[], Run]
) -> None:
    """Vector 28: after its limit the sweeper ends it; what had not ended has timed out, what had is as it was."""
    run = a_run()
    wait_for_batch(hand, run, "ab", sealed=False, delay_ms=0 if mode is Mode.RESTORED else 172_800_000)
    assert hand.checkpoint_worker() == ([Taken.ACCEPTED] if mode is Mode.RESTORED else [])
    hand.resume_worker(an_end(run, "a"))
    limit = hand.wait_row(run)["registered_at"] + timedelta(milliseconds=settings.batch_seal_ms)

    hand.sweeper(at=limit - timedelta(milliseconds=1))
    hand.resume_worker()
    assert hand.wait_row(run)["completed_at"] is None
    hand.sweeper(at=limit)
    hand.resume_worker()

    assert hand.wait_row(run)["outcome_type"] == OutcomeType.TIMED_OUT
    assert hand.checkpoint_worker() == ([Restored.RESTORED] if mode is Mode.RESTORED else [])
    heard = hand.continuation()
    assert (heard.mode, heard.outcomes) == (mode, {"a": Outcome("success", "a"), "b": Outcome("timed_out", None)})
    assert run.goes_on()


def test_items_that_came_before_their_wait_end_it_at_once(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """All of them, and the seal, were drained before the registration: no checkpoint, live with what they were."""
    run = a_run()
    hand.resume_worker(an_end(run, "a"), a_message(run, sealed=True), an_end(run, "b"))
    assert hand.continuations() == []

    wait_for_batch(hand, run, "ab", sealed=False, delay_ms=0)

    assert hand.checkpoint_worker() == []
    hand.resume_worker()
    heard = hand.continuation()
    assert heard.outcomes is not None
    assert (heard.mode, sorted(heard.outcomes)) == (Mode.LIVE, ["a", "b"])


def test_ten_thousand_items_end_in_one_continuation(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Completed in batches of 500 over the broker, the last of them twice."""
    run = a_run()
    items = [f"item-{number}" for number in range(SIZE_MAX)]
    wait_for_batch(hand, run, items)

    for start in range(0, SIZE_MAX, PART):
        assert hand.continuations() == []
        hand.resume_worker(*(an_end(run, item) for item in items[start : start + PART]))
    heard = hand.continuation()
    hand.resume_worker(*(an_end(run, item) for item in items[-PART:]))

    assert heard.outcomes is not None
    assert heard.outcomes == {item: Outcome("success", item) for item in items}
    assert {one.continuation_id for one in hand.continuations()} == {heard.continuation_id}


def test_outcomes_above_a_mebibyte_are_left_out_and_can_be_read(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Null in the continuation, which says so; also when it is sent again; the function has them all."""
    run = a_run()
    items = [f"item-{number}" for number in range(24)]
    wait_for_batch(hand, run, items)
    hand.resume_worker(*(an_end(run, item, outcome=item * 9_000) for item in items))
    hand.sweeper(ahead=LATER)

    assert [(one.outcomes, one.outcomes_left_out) for one in hand.continuations()] == [(None, True)] * 2
    with hand.at.pool.connection() as conn:
        name = hand.continuations()[0].continuation_id
        read = only(conn.execute("SELECT continuation_outcomes(%s)", [name]).fetchone())
    assert read == {item: {"type": "success", "value": item * 9_000} for item in items}


def test_a_message_for_a_batch_that_breaks_a_rule_is_refused_to_its_sender(
    hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """An unknown item and a late growth, in one batch of messages with a good one, which is taken."""
    run = a_run()
    wait_for_batch(hand, run, "a")

    hand.resume_worker(an_end(run, "b"), a_message(run, items_added=["c"]), an_end(run, "a"))

    with hand.at.pool.connection() as conn:
        kept = conn.execute("SELECT code, dependency_id FROM rejection ORDER BY id").fetchall()
    name = dependency_id(run.id, 1)
    assert kept == [("unknown-item", name), ("batch-sealed", name)]
    assert hand.wait_row(run)["resumed_at"] is not None


def wait_for_batch(
    hand: ByHand, run: Run, items: Sequence[str], *, sealed: bool | None = None, delay_ms: int = 30_000
) -> None:
    """Register that a run waits for a batch of these items."""
    dependency = Dependency(dependency_id(run.id, 1), items=list(items), sealed=sealed)
    hand.wait_for_task(run, reason=WaitReason.BATCH, dependency=dependency, delay_ms=delay_ms)


def an_end(run: Run, item: str, outcome_type: OutcomeType = OutcomeType.SUCCESS, outcome: object = None) -> bytes:
    """Return the message that an item has ended, with its own name for its outcome."""
    return a_message(run, item_id=item, outcome_type=outcome_type, outcome=outcome or item)


def a_message(run: Run, **fields: Any) -> bytes:
    """Return a message about the batch that a run waits for, as it lies on `resumes`."""
    completion = Complete(v=1, dependency_id=dependency_id(run.id, 1), **fields)
    return envelope(TaskName.COMPLETE, completion, task_id=f"{run.id}-{fields}", queue=RESUMES)

"""How what a run waited for ends: every final state, and what comes late of an earlier wait."""

from collections.abc import Callable

from by_hand import LATER, ByHand, completion_of
from runs import Run
from upstream import dependency_id

from shared.messages import Complete, Continue, Done, Resume
from shared.post import envelope
from shared.queues import RESUMES, TaskName
from shared.vocabulary import Mode, OutcomeType
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


def test_every_final_state_of_a_child_resumes_its_parent_with_it(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 44: failed, cancelled, expired before it started, crashed: each continues a live run and a frozen one."""
    run = a_run()
    number = 0
    for outcome_type in OutcomeType:
        for mode in (Mode.LIVE, Mode.RESTORED):
            number += 1
            hand.wait_for_task(run, number, delay_ms=0 if mode is Mode.RESTORED else 30_000)
            assert hand.checkpoint_worker() == ([Taken.ACCEPTED] if mode is Mode.RESTORED else [])

            hand.resume_worker(end_of(run, number, outcome_type))
            assert hand.checkpoint_worker() == ([Restored.RESTORED] if mode is Mode.RESTORED else [])

            heard = hand.continuations()[-1]
            assert (heard.wait_number, heard.mode) == (number, mode)
            assert outcome_of(heard) == (outcome_type, {"state": str(outcome_type)})
            assert run.goes_on()
    assert len(hand.continuations()) == number


def test_what_comes_late_of_one_wait_is_nothing_to_the_next(hand: ByHand, a_run: Callable[[], Run]) -> None:
    """Vector 32: completion, hint and `done` of A, while B is waited for and then frozen: B alone ends B."""
    run = a_run()
    hand.wait_for_task(run, 1)
    hand.complete(run, 1)
    hand.wait_for_task(run, 2, delay_ms=30_000)
    before = [hand.wait_row(run, number) for number in (1, 2)]
    name = dependency_id(run.id, 1)
    late = [
        completion_of(run, 1),
        end_of(run, 1, OutcomeType.FAILURE),
        envelope(TaskName.RESUME, Resume(v=1, dependency_id=name), task_id="hint", queue=RESUMES),
        envelope(TaskName.DONE, Done(v=1, continuation_id=name), task_id="done", queue=RESUMES),
    ]

    hand.resume_worker(*late)
    assert [hand.wait_row(run, number) for number in (1, 2)] == before
    assert len(hand.continuations()) == len(hand.held()) == 1
    hand.time_passes(run, seconds=30, number=2)
    hand.let_countdowns_end()
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    hand.resume_worker(*late)
    hand.sweeper(ahead=LATER)
    assert hand.checkpoint_worker() == []
    assert hand.wait_row(run, 1) == before[0]
    assert run.stands

    hand.complete(run, 2)
    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert [(one.wait_number, one.mode) for one in hand.continuations()] == [(1, Mode.LIVE), (2, Mode.RESTORED)]


def end_of(run: Run, number: int, outcome_type: OutcomeType) -> bytes:
    """Return the message that what a wait is for has ended so."""
    completion = Complete(
        v=1,
        dependency_id=dependency_id(run.id, number),
        outcome_type=outcome_type,
        outcome={"state": str(outcome_type)},
    )
    return envelope(TaskName.COMPLETE, completion, task_id=f"{run.id}-{number}", queue=RESUMES)


def outcome_of(heard: Continue) -> tuple[str, object]:
    """Return how the only thing that was waited for ended."""
    assert heard.outcomes is not None
    (outcome,) = heard.outcomes.values()
    return outcome.type, outcome.value

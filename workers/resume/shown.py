"""How completions, hints and ends of continuations are shown to those who watch the workers."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from shared.db.dependencies import CompleteAnswer, Resumed
from shared.letters import Letter
from shared.messages import Complete, Done, Resume
from shared.queues import TaskName
from shared.task_ids import take_id
from shared.vocabulary import CheckpointStatus
from workers.shown import Shown, Word, named, of_letter


def of_batch(
    letters: Sequence[Letter],
    *,
    answers: Mapping[int, CompleteAnswer],
    ended: AbstractSet[str],
    rows: Sequence[Resumed],
) -> Iterator[Shown]:
    """Show what became of each letter that no rule refused.

    Args:
        letters: Of the batch.
        answers: To its completions, by their number.
        ended: The continuations that this batch ended.
        rows: The resumed waits that it continues.
    """
    by_id = {row.id: row for row in rows}
    for number, letter in enumerate(letters):
        message = letter.message
        if isinstance(message, Complete) and (answer := answers[number]).refused is None:
            row = by_id.get(message.dependency_id)
            yield _resumed(letter, row, item_id=message.item_id) if row else _recorded(letter, message, answer)
        elif isinstance(message, Resume):
            row = by_id.get(message.dependency_id)
            yield _resumed(letter, row) if row else _nothing(letter, message.dependency_id)
        elif isinstance(message, Done):
            id_ = message.continuation_id
            # Ours is the dependency's.
            yield of_letter(letter, Word.DONE, named(dependency_id=id_)) if id_ in ended else _nothing(letter, id_)


def of_revoked_takes(rows: Sequence[Resumed], resumed: AbstractSet[str]) -> Iterator[Shown]:
    """Show that the planned takes of waits that were resumed just now are called off."""
    for row in rows:
        if row.id in resumed and row.checkpoint_id is None and row.is_planned:
            yield Shown(
                Word.REVOKED,
                TaskName.TAKE,
                take_id(row.run_id, row.wait_number),
                named(run_id=row.run_id, wait_number=row.wait_number, dependency_id=row.id),
                "the wait ended first",
                is_taken=False,
            )


def _resumed(letter: Letter, row: Resumed, *, item_id: str | None = None) -> Shown:
    if row.checkpoint_id is None:
        result = "continued live"
    elif row.checkpoint_status == CheckpointStatus.RESTORED:
        result = "continued restored"
    elif row.checkpoint_status == CheckpointStatus.LOST:
        result = "nothing of it is left"
    elif row.restore_node is None:
        result = "its node is silent"
    else:
        result = "its restore is asked for"
    kwargs = named(
        run_id=row.run_id,
        attempt=row.attempt,
        wait_number=row.wait_number,
        dependency_id=row.id,
        item_id=item_id,
        outcome_type=row.outcome_type,
    )
    return of_letter(letter, Word.RESUMED, kwargs, result)


def _recorded(letter: Letter, message: Complete, answer: CompleteAnswer) -> Shown:
    if not answer.waiter_known:
        result = "kept for its wait"
    elif not answer.first:
        result = "a repeat"
    elif answer.open_items:
        result = f"{answer.open_items} items are open"
    else:
        result = "nobody is continued"
    kwargs = named(dependency_id=message.dependency_id, item_id=message.item_id, outcome_type=message.outcome_type)
    return of_letter(letter, Word.RECORDED, kwargs, result)


def _nothing(letter: Letter, dependency_id: str) -> Shown:
    return of_letter(letter, Word.NOTHING_TO_DO, named(dependency_id=dependency_id))

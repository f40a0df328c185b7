"""How registrations, cancels, answers, takes and restores are shown to those who watch the workers."""

from collections.abc import Iterator
from typing import Final

from shared.db.checkpoints import Outlook
from shared.db.deferrals import Result
from shared.letters import Letter
from shared.messages import Cancel, Defer, Ready
from shared.queues import TaskName
from shared.task_ids import take_id
from shared.vocabulary import CheckpointStatus
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken
from workers.shown import TEXT_MAX, Ending, Shown, Word, named, of_letter

_ENDINGS: Final[dict[Taken | Restored, Word]] = {
    Taken.REVOKED_IN_DELAY: Word.REVOKED,
    Taken.BUSY: Word.RETRIED,
    Taken.EARLY: Word.RETRIED,
    Taken.ASKED: Word.ASKED,
    Taken.UNANSWERED: Word.FAILED,
    Taken.ACCEPTED: Word.FROZEN,
    Taken.REFUSED: Word.REFUSED,
    Taken.REVOKED: Word.REVOKED,
    Taken.RETRIED: Word.RETRIED,
    Taken.FAILED: Word.FAILED,
    Restored.BUSY: Word.RETRIED,
    Restored.RESTORED: Word.RESTORED,
    Restored.GIVEN_BACK: Word.RETRIED,
    Restored.LOST: Word.FAILED,
}
# Where nothing was left to do, or only a duty: what the checkpoint is by now, so that a message that comes twice
# does not hide how the first one ended.
_TAKES_BY_STATUS: Final[dict[CheckpointStatus, Word]] = {
    CheckpointStatus.ACCEPTED: Word.FROZEN,
    CheckpointStatus.RESTORING: Word.FROZEN,
    CheckpointStatus.RESTORED: Word.FROZEN,
    CheckpointStatus.REFUSED: Word.REFUSED,
    CheckpointStatus.REVOKED: Word.REVOKED,
    CheckpointStatus.FAILED: Word.FAILED,
    CheckpointStatus.DISCARDED: Word.DISCARDED,
    CheckpointStatus.LOST: Word.FROZEN,
}
_RESTORES_BY_STATUS: Final[dict[CheckpointStatus, Word]] = {
    CheckpointStatus.RESTORED: Word.RESTORED,
    CheckpointStatus.DISCARDED: Word.DISCARDED,
    CheckpointStatus.LOST: Word.FAILED,
}
_NO_ROW: Final = Outlook(status=None, error=None, due_at=None, is_over=False)
# An outcome whose word says all; the others are explained by the row.
PLAIN: Final = frozenset(
    {Taken.ACCEPTED, Taken.REVOKED_IN_DELAY, Taken.REFUSED, Taken.REVOKED, Taken.BUSY, Restored.BUSY, Restored.RESTORED}
)


def ending_of(outcome: Taken | Restored, outlook: Outlook | None) -> Ending:
    """Return how a take or restore ended.

    Args:
        outcome: As the story returned it.
        outlook: What its row says now; None: nothing is known of it, or Postgres could not be asked.
    """
    row = outlook or _NO_ROW
    word = _ENDINGS.get(outcome) or _by_row(outcome, row)
    comes_again, failed = word is Word.RETRIED, word is Word.FAILED
    # An early take says nothing of the try before it.
    has_failed = (comes_again or failed) and outcome is not Taken.EARLY
    text = (f"{outcome}: {row.error}" if has_failed and row.error else str(outcome))[:TEXT_MAX]
    return Ending(
        word,
        text,
        error=text if comes_again or failed else None,
        eta=row.due_at.isoformat() if (comes_again or outcome is Taken.ASKED) and row.due_at else None,
    )


def _by_row(outcome: Taken | Restored, row: Outlook) -> Word:
    by_status = _TAKES_BY_STATUS if isinstance(outcome, Taken) else _RESTORES_BY_STATUS
    if row.status is not None and row.status in by_status:
        return by_status[row.status]
    if outcome is Restored.NOT_PERMITTED:
        return Word.NOT_PERMITTED
    # No row, and the wait is over: it ended in its delay.
    return Word.REVOKED if row.is_over and row.status is None else Word.NOTHING_TO_DO


def of_result(letter: Letter, result: Result) -> Iterator[Shown]:
    """Show what became of a registration, a cancel or an answer, and of the take that it plans or revokes."""
    message = letter.message
    if isinstance(message, Defer) and result.answer is not None:
        yield from _of_defer(letter, message, result)
    elif isinstance(message, Cancel) and result.answer is not None:
        yield _of_cancel(letter, message, result)
    elif isinstance(message, Ready) and result.answer is not None:
        yield _of_ready(letter, message, result)
    if result.token is not None:
        yield _take(Word.REVOKED, result.token.run_id, result.token.wait_number, result=result.token.reason)


def _of_defer(letter: Letter, message: Defer, result: Result) -> Iterator[Shown]:
    answer = result.defer_answer()
    kwargs = named(
        run_id=message.run_id,
        attempt=message.attempt,
        wait_number=message.wait_number,
        dependency_id=answer.dependency_id,
        reason=message.reason,
    )
    repeat = "a repeat; " if answer.duplicate else ""
    if not answer.will_checkpoint:
        yield of_letter(letter, Word.REGISTERED, kwargs, f"{repeat}no checkpoint: {answer.why}")
        return
    due_at = answer.due_at.isoformat() if answer.due_at else None
    due = f"checkpoint due at {due_at}, after {answer.delay_ms} ms by {answer.delay_from}"
    yield of_letter(letter, Word.DEFERRED, kwargs, repeat + due)
    if not answer.duplicate:
        yield _take(Word.SENT, message.run_id, message.wait_number, dependency_id=answer.dependency_id, eta=due_at)


def _of_cancel(letter: Letter, message: Cancel, result: Result) -> Shown:
    answer = result.answer or {}
    word = Word.NOTHING_TO_DO
    if answer.get("wait_ended"):
        word = Word.CANCELLED
    elif answer.get("called_off"):
        word = Word.CALLED_OFF
    kwargs = named(run_id=message.run_id, attempt=message.attempt, wait_number=message.wait_number)
    return of_letter(letter, word, kwargs, message.reason.type)


def _of_ready(letter: Letter, message: Ready, result: Result) -> Shown:
    kwargs = named(run_id=message.run_id, wait_number=message.wait_number)
    if result.take is None:
        return of_letter(letter, Word.NOTHING_TO_DO, kwargs, "not asked, too late, or said before")
    return of_letter(letter, Word.READY, kwargs, "checkpoint due now")


def _take(
    word: Word,
    run_id: str,
    wait_number: int,
    *,
    dependency_id: str | None = None,
    result: str = "",
    eta: str | None = None,
) -> Shown:
    kwargs = named(run_id=run_id, wait_number=wait_number, dependency_id=dependency_id)
    return Shown(word, TaskName.TAKE, take_id(run_id, wait_number), kwargs, result, eta, is_taken=False)

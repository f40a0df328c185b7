"""How takes and restores are shown: each outcome by its word, or by what the row says where it says little."""

from datetime import UTC, datetime

import pytest

from shared.db.checkpoints import Outlook
from shared.vocabulary import CheckpointStatus
from workers.checkpoint.restore import Restored
from workers.checkpoint.shown import ending_of
from workers.checkpoint.take import Taken
from workers.shown import Word

DUE = datetime(2030, 1, 1, tzinfo=UTC)
BY_OUTCOME = {
    Taken.REVOKED_IN_DELAY: Word.REVOKED,
    Taken.BUSY: Word.RETRIED,
    Taken.EARLY: Word.RETRIED,
    Taken.ACCEPTED: Word.FROZEN,
    Taken.REFUSED: Word.REFUSED,
    Taken.REVOKED: Word.REVOKED,
    Taken.RETRIED: Word.RETRIED,
    Taken.FAILED: Word.FAILED,
    Taken.ASKED: Word.ASKED,
    Taken.UNANSWERED: Word.FAILED,
}
RESTORES_BY_OUTCOME = {
    Restored.BUSY: Word.RETRIED,
    Restored.RESTORED: Word.RESTORED,
    Restored.GIVEN_BACK: Word.RETRIED,
    Restored.LOST: Word.FAILED,
}
BY_STATUS = {
    CheckpointStatus.TAKING: Word.NOTHING_TO_DO,
    CheckpointStatus.DEFERRED: Word.NOTHING_TO_DO,
    CheckpointStatus.ACCEPTED: Word.FROZEN,
    CheckpointStatus.REFUSED: Word.REFUSED,
    CheckpointStatus.REVOKED: Word.REVOKED,
    CheckpointStatus.FAILED: Word.FAILED,
    CheckpointStatus.RESTORING: Word.FROZEN,
    CheckpointStatus.RESTORED: Word.FROZEN,
    CheckpointStatus.DISCARDED: Word.DISCARDED,
    CheckpointStatus.LOST: Word.FROZEN,
}


def row(status: CheckpointStatus | None, *, error: str | None = None, is_over: bool = False) -> Outlook:
    """Return a row as Postgres may show it."""
    return Outlook(status, error, DUE, is_over)


@pytest.mark.parametrize("outcome", Taken)
@pytest.mark.parametrize("status", CheckpointStatus)
def test_a_take_is_shown_by_its_outcome_and_else_by_its_row(outcome: Taken, status: CheckpointStatus) -> None:
    """What found nothing to do, or did only a duty, shows how the checkpoint stands."""
    assert ending_of(outcome, row(status)).word is BY_OUTCOME.get(outcome, BY_STATUS[status])


@pytest.mark.parametrize("outcome", Restored)
@pytest.mark.parametrize("status", CheckpointStatus)
def test_a_restore_is_shown_by_its_outcome_and_else_by_its_row(outcome: Restored, status: CheckpointStatus) -> None:
    """A second request for a restored run is no surprise, one for a run that is over neither."""
    by_row = {
        CheckpointStatus.RESTORED: Word.RESTORED,
        CheckpointStatus.DISCARDED: Word.DISCARDED,
        CheckpointStatus.LOST: Word.FAILED,
    }
    otherwise = Word.NOT_PERMITTED if outcome is Restored.NOT_PERMITTED else Word.NOTHING_TO_DO

    shown = ending_of(outcome, row(status)).word

    assert shown is RESTORES_BY_OUTCOME.get(outcome, by_row.get(status, otherwise))


def test_a_take_without_a_row_whose_wait_is_over_was_revoked() -> None:
    """Its wait ended in its delay; where the wait is not known at all there was nothing to do."""
    assert ending_of(Taken.NOTHING_TO_DO, row(None, is_over=True)).word is Word.REVOKED
    assert ending_of(Taken.NOTHING_TO_DO, row(None)).word is Word.NOTHING_TO_DO
    assert ending_of(Taken.NOTHING_TO_DO, None).word is Word.NOTHING_TO_DO


def test_what_went_wrong_and_when_it_comes_again_is_said() -> None:
    """The error of the try, and only where it is this try's."""
    retried = ending_of(Taken.RETRIED, row(CheckpointStatus.DEFERRED, error="disk full"))
    assert (retried.error, retried.eta) == ("retried: disk full", DUE.isoformat())
    failed = ending_of(Taken.FAILED, row(CheckpointStatus.FAILED, error="no such process"))
    assert (failed.error, failed.eta) == ("failed: no such process", None)
    early = ending_of(Taken.EARLY, row(CheckpointStatus.DEFERRED, error="disk full"))
    assert (early.error, early.eta) == ("early", DUE.isoformat())
    assert ending_of(Taken.ACCEPTED, None).error is None
    asked = ending_of(Taken.ASKED, row(CheckpointStatus.DEFERRED, error="disk full"))
    assert (asked.result, asked.error, asked.eta) == ("asked", None, DUE.isoformat())
    unanswered = ending_of(Taken.UNANSWERED, row(CheckpointStatus.FAILED, error="no answer"))
    assert (unanswered.error, unanswered.eta) == ("unanswered: no answer", None)

"""What Flower shows of a message: the events that give its task a state of its own.

Celery makes a state of any event `task-<word>`, the word in capitals. Where several come for one id its own order
decides: SUCCESS and FAILURE stay; a word of ours replaces all else, also another word of ours; REVOKED, STARTED,
RECEIVED and PENDING never replace one; after RETRY anything may come.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import uuid4

from shared.db.rejections import Rejection
from shared.letters import Letter

TEXT_MAX: Final = 500  # characters of a result: every event stays in the memory of all who watch


class Word(StrEnum):
    """What became of a message; the state that Flower shows is in capitals."""

    # Celery's own, whose states are PENDING, RETRY, REVOKED, FAILURE.
    SENT = "sent"
    RETRIED = "retried"
    REVOKED = "revoked"
    FAILED = "failed"
    # Ours: of what a drain takes.
    DEFERRED = "deferred"
    REGISTERED = "registered"
    CANCELLED = "cancelled"
    CALLED_OFF = "called-off"
    READY = "ready"
    RESUMED = "resumed"
    RECORDED = "recorded"
    DONE = "done"
    REFUSED = "refused"
    # Of takes and restores.
    ASKED = "asked"
    FROZEN = "frozen"
    RESTORED = "restored"
    NOT_PERMITTED = "not-permitted"
    DISCARDED = "discarded"
    NOTHING_TO_DO = "nothing-to-do"

    @property
    def event(self) -> str:
        """The type of Celery's event."""
        return f"task-{self}"


@dataclass(frozen=True, slots=True)
class Shown:
    """One task as it is to be shown.

    Args:
        word: Its state.
        name: Of the task.
        id: Of the message.
        kwargs: Whom it is about, as `named` writes it.
        result: What became of it, for people.
        eta: Not to be run before, as ISO 8601; None: at once.
        is_taken: Whether a drain took this message just now; else it is about another task.
    """

    word: Word
    name: str
    id: str
    kwargs: str
    result: str = ""
    eta: str | None = None
    is_taken: bool = True


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task that a worker of Celery ran ended, in place of Celery's own SUCCESS.

    Args:
        word: Its state.
        result: What became of it, for people.
        error: What went wrong; None: nothing.
        eta: When it comes again, as ISO 8601; None: not known, or never.
    """

    word: Word
    result: str
    error: str | None = None
    eta: str | None = None


def named(**ids: str | int | None) -> str:
    """Return ids as Flower finds them (`kwargs:run_id=...`): a literal of Python, without those that are None.

    Only names and numbers, never what a run waits for: whatever is shown here is read by many.
    """
    # A member of an enum is no literal.
    return repr({name: int(v) if isinstance(v, int) else str(v) for name, v in ids.items() if v is not None})


def of_letter(letter: Letter, word: Word, kwargs: str, result: str = "") -> Shown:
    """Show what became of a letter."""
    return Shown(word, letter.task, letter.id, kwargs, result)


def of_rejection(rejection: Rejection) -> Shown:
    """Show a refused message with its code and its problem."""
    return Shown(
        Word.REFUSED,
        rejection.message or f"unreadable on {rejection.queue}",
        rejection.message_id or str(uuid4()),
        named(run_id=rejection.run_id, dependency_id=rejection.dependency_id),
        f"{rejection.code}: {rejection.problem}"[:TEXT_MAX],
    )

"""Takes and restores as Flower sees them: whom they are about, and how they ended.

Celery shows whatever returns as SUCCESS, also a checkpoint that was refused. Here the task says how it ended, and the
worker's own event says that instead: not one event more, in the worker's own groups.
"""

import threading
from typing import Any

from celery.utils.saferepr import saferepr
from celery.worker.request import Request

from workers.shown import Ending, Word

SUCCEEDED = "task-succeeded"


class _Ended(threading.local):
    """How the task of this thread ended: Celery's threads pool reports in the thread in which the task ran."""

    ending: Ending | None = None


_ended = _Ended()


def ends_as(ending: Ending) -> None:
    """Say how the task that runs in this thread ends; it has to return next."""
    _ended.ending = ending


class ShownRequest(Request):
    """A request whose task ends in a state of its own."""

    @property
    def kwargsrepr(self) -> str:
        """What the task is called with; whoever sends it need not write it twice."""
        return super().kwargsrepr or saferepr(self.kwargs)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's signature
        """Send an event of the worker; in place of a success how the task ended."""
        ending, _ended.ending = _ended.ending, None
        if type == SUCCEEDED and ending is not None:
            type, fields = ending.word.event, fields | event_fields(ending)  # noqa: A001
        super().send_event(type, **fields)


def event_fields(ending: Ending) -> dict[str, Any]:
    """Return what Flower shows beside the state."""
    fields: dict[str, Any] = {"result": ending.result}
    if ending.error is not None:
        fields["exception"] = ending.error
    if ending.eta is not None:
        fields["eta"] = ending.eta
    if ending.word is Word.REVOKED:
        # As Celery's own revocation has them; others than Flower read them too.
        fields |= {"terminated": False, "signum": None, "expired": False}
    return fields

"""What others may have a worker do by Celery's remote control; Flower's buttons are such calls.

A revoke is not among it. Celery's stays in the memory of the workers that heard it, and drops every message with that
id for three hours; a take's id is the same however often it is sent, so a frozen or standing run would be left to
itself. What calls off a checkpoint is `checkpoint.cancel`: Postgres decides.
"""

from typing import Any, Final

from celery.worker.control import Panel

_REFUSED: Final = {"error": "revokes are not taken; use checkpoint.cancel, or `checkpoints cancel`"}


def refuse_revokes() -> None:
    """Have this worker answer every kind of revoke with what to use instead."""
    for name in ("revoke", "revoke_by_stamped_headers", "terminate"):
        Panel.data[name] = _refuse


def _refuse(_state: Any, *_args: Any, **_kwargs: Any) -> dict[str, str]:
    return _REFUSED

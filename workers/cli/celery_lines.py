"""What Celery says past its own logger, made lines like all others."""

import os
from contextlib import suppress
from typing import Any, Final, cast

from celery import signals
from celery.apps import worker as celery_worker

from shared.telemetry import logs

STDERR: Final = 2


def take_over() -> None:
    """Have Celery leave the loggers alone, and say what it says to a terminal as a line of ours."""
    signals.setup_logging.connect(logs.keep_celery_out, dispatch_uid="keep-celery-out")
    cast("Any", celery_worker).safe_say = _say


def _say(text: str, _file: object = None) -> None:
    # Celery says it in handlers of signals, where a logger may be in the middle of a line: written past it.
    with suppress(OSError):
        os.write(STDERR, logs.line_of("celery.said", {"text": text.strip()}).encode())

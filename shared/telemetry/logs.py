"""Structured logs: JSON lines, or colours where a person looks on; Celery's own lines through the same door."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import Processor

# Celery tells each task's start and end as text; our own lines say it with facts.
_QUIET = ("celery.app.trace", "celery.worker.strategy", "kombu", "amqp")


def set_up(*, is_for_people: bool | None = None) -> None:
    """Send every log line of this process to standard error, one event a line.

    Args:
        is_for_people: Colours instead of JSON; None: as standard error is a terminal or not.
    """
    people = sys.stderr.isatty() if is_for_people is None else is_for_people
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_celery_out(**_: Any) -> None:
    """Receive Celery's `setup_logging` signal: with a receiver it leaves the root logger alone."""

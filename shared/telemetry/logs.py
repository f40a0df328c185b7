"""Structured logs: JSON lines, or colours where a person looks on; the lines of libraries through the same door."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.telemetry.secrets import hide_passwords, passwords_of

# Celery tells each task's start and end as text; our own lines say it with facts.
_QUIET: Final = ("celery.app.trace", "celery.worker.strategy", "kombu", "amqp")
DEPTH_MAX: Final = 8
# All but \t and \n; with what turns the direction of a text or ends a line where no terminal shows it.
_CONTROL: Final = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
_CONTROL_IN_LINES: Final = {code: text for code, text in _CONTROL.items() if chr(code) not in "\t\n"}
_LINES: Final = frozenset({"exception", "stack"})

log = structlog.get_logger(__name__)


def set_up(*, is_for_people: bool | None = None, worker: str | None = None, urls: Iterable[str] = ()) -> None:
    """Send every log line of this process to standard error, one event a line; also what nobody caught.

    Args:
        is_for_people: Colours instead of JSON; None: as standard error is a terminal or not.
        worker: The kind of worker, said on each line.
        urls: Those of the process's servers; their passwords are hidden wherever they turn up.
    """
    people = sys.stderr.isatty() if is_for_people is None else is_for_people
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_say_who, worker),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            partial(_made_plain, passwords_of(urls)),
            *(_for_people() if people else _for_machines()),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _tell_of_crash
    threading.excepthook = _tell_of_thread


def line_of(event: str, facts: Mapping[str, object]) -> str:
    """Return a line as it would be logged, for whoever may not log just now."""
    record = logging.LogRecord(__name__, logging.INFO, "", 0, event, None, None)
    record.__dict__.update(facts)
    formatter = logging.getLogger().handlers[0].formatter or logging.Formatter()
    return formatter.format(record) + "\n"


def keep_celery_out(**_: Any) -> None:
    """Receive Celery's `setup_logging` signal: with a receiver it leaves all loggers alone."""


def _say_who(worker: str | None, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    if worker is not None:
        event_dict["worker"] = worker
    return event_dict


def _for_machines() -> list[Processor]:
    return [structlog.processors.JSONRenderer()]


def _for_people() -> list[Processor]:
    return [_escaped, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _made_plain(passwords: list[str], _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Make texts, numbers, lists and objects of all values, without a password in any."""
    hide = partial(hide_passwords, known=passwords)
    return {hide(str(key)): _plain(value, hide, DEPTH_MAX) for key, value in event_dict.items()}


def _plain(value: object, hide: Callable[[str], str], levels: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return hide(str(value))
    if levels and isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {hide(str(key)): _plain(one, hide, levels - 1) for key, one in items}
    if levels and isinstance(value, list | tuple | set | frozenset):
        return [_plain(one, hide, levels - 1) for one in cast("Iterable[object]", value)]
    return hide(repr(value))


def _escaped(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Show control characters as text: a run's name must not write on an operator's terminal."""
    return {key.translate(_CONTROL): _escape(key, value) for key, value in event_dict.items()}


def _escape(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value  # shown by its repr, which escapes by itself
    if key in _LINES:
        # Each with a mark: what an error says must not look like an event.
        return "\n".join(f"  | {line}" for line in value.translate(_CONTROL_IN_LINES).split("\n"))
    return value.translate(_CONTROL)


def _tell_of_crash(type_: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(type_, KeyboardInterrupt):
        return
    log.critical("process.crashed", exc_info=(type_, error, traceback))


def _tell_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else None
        log.critical("thread.crashed", thread=name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

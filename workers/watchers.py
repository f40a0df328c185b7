"""Whoever watches a drain: Flower, by Celery's events, grouped so that a batch of messages is one message."""

from typing import Any, Protocol, cast

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from shared.db.rejections import Rejection
from shared.letters import Letter
from workers.intake import Handled

log = structlog.get_logger(__name__)

# A batch and its refusals are flushed together; the limit is never reached in between.
BUFFERED_EVENTS_MAX = 10_000


class Watcher(Protocol):
    """Is told of every batch that a drain has handled."""

    def taken(self, queue: str, handled: Handled) -> None:
        """A batch was handled."""
        ...


class EventWatcher:
    """Shows each drained message as a task of the worker. One thread's own.

    Args:
        app: The worker's Celery app.
        hostname: The worker's name.
    """

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._dispatcher: Any = None

    def taken(self, queue: str, handled: Handled) -> None:
        """Send the events of a batch; without a broker they are dropped, since they only show."""
        try:
            dispatcher = self._connected()
            for letter in handled.letters:
                self._show_taken(dispatcher, letter)
            for returned in handled.returns:
                self._show_refused(dispatcher, returned.rejection)
            dispatcher.flush(errors=False, groups=True)
        except (OperationalError, OSError) as error:
            log.info("events.dropped", queue=queue, error=str(error))
            self._dispatcher = None

    def _connected(self) -> Any:
        if self._dispatcher is None:
            events = cast("Any", self._app.events)
            self._dispatcher = events.Dispatcher(
                self._app.connection_for_write(),
                hostname=self._hostname,
                buffer_group={"task"},
                buffer_limit=BUFFERED_EVENTS_MAX,
                buffer_while_offline=False,
            )
        return self._dispatcher

    @staticmethod
    def _show_taken(dispatcher: Any, letter: Letter) -> None:
        kwargs = letter.body[:1024].decode(errors="replace")
        dispatcher.send("task-received", uuid=letter.id, name=letter.task, args="()", kwargs=kwargs, retries=0)
        dispatcher.send("task-succeeded", uuid=letter.id, result="", runtime=0.0)

    @staticmethod
    def _show_refused(dispatcher: Any, rejection: Rejection) -> None:
        if rejection.message_id is not None:
            dispatcher.send("task-rejected", uuid=rejection.message_id, requeue=False)

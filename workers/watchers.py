"""Whoever watches a drain: Flower, by Celery's events, grouped so that a batch of messages is one message."""

import time
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis import RedisError

from workers.intake import Handled
from workers.shown import Shown, Word, of_rejection

log = structlog.get_logger(__name__)

# A batch of 500 is flushed together; the limit is never reached in between.
BUFFERED_EVENTS_MAX: Final = 10_000
# Whoever cannot be told is not waited for again and again: work goes on, and only what is shown has a gap.
DEAF_SECONDS: Final = 5.0


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
        self._connection: Any = None
        self._dispatcher: Any = None
        self._deaf_until = 0.0

    def taken(self, queue: str, handled: Handled) -> None:
        """Send the events of a batch; without a broker they are dropped, since they only show."""
        if time.monotonic() < self._deaf_until:
            return
        try:
            dispatcher = self._connected()
            now = datetime.now(UTC).isoformat()
            for one in handled.shown:
                _send(dispatcher, one, now)
            for returned in handled.returns:
                _send(dispatcher, of_rejection(returned.rejection), now)
            dispatcher.flush(errors=False, groups=True)
        except (KombuError, RedisError, OSError) as error:
            log.info("events.dropped", queue=queue, error=str(error))
            self._deaf_until = time.monotonic() + DEAF_SECONDS
            self._disconnect()

    def _connected(self) -> Any:
        if self._dispatcher is None:
            options = self._app.conf.broker_transport_options
            # One try: by itself kombu goes on for 4 s, and the drain has to look after its lease.
            self._connection = self._app.connection_for_write(transport_options={**options, "max_retries": 1})
            events = cast("Any", self._app.events)
            self._dispatcher = events.Dispatcher(
                self._connection,
                hostname=self._hostname,
                buffer_group={"task"},
                buffer_limit=BUFFERED_EVENTS_MAX,
                buffer_while_offline=False,
            )
        return self._dispatcher

    def _disconnect(self) -> None:
        self._dispatcher = None
        if self._connection is not None:
            self._connection.collect()
            self._connection = None


def _send(dispatcher: Any, one: Shown, now: str) -> None:
    about = {"uuid": one.id, "name": one.name, "args": "()", "kwargs": one.kwargs}
    if one.is_taken:
        # With an eta, since Flower counts what has none as prefetched until it starts, and this never does.
        dispatcher.send("task-received", eta=now, retries=0, **about)
    more = {"eta": one.eta} if one.word is Word.SENT else {"result": one.result}
    dispatcher.send(one.word.event, **about, **more)

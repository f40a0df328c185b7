"""kombu's Redis transport, made safe for us: countdowns wait in Redis, bad messages are set aside.

kombu is pinned below 5.8, as these are its inner parts. What is changed and why stands at each override.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from queue import Empty
from typing import Any, Final, Protocol, cast

import structlog
from kombu.connection import Connection
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis import Redis, RedisError

from shared.broker import Command, Keys, run
from shared.guard import Admitted, BadMessage, admit_task, check_delivery, read_message, set_aside
from shared.held import LOOK_AHEAD, RECEIPT_AHEAD, Held, hold_commands, move_command
from shared.telemetry.outage import Outage

# Aliases, as `broker_transport` wants them; the URL stays redis:// or rediss://.
DEFERRED: Final = "checkpoint-redis"
STOCK: Final = "checkpoint-redis-stock"
# What a control client reads: the answers of workers.
REPLY_QUEUE: Final = ".reply.celery.pidbox"
# 20 empty looks a second cost Redis 0.4 % of a core for each worker; nothing is later than 50 ms by it.
MOVE_PERIOD_SECONDS: Final = 0.05
REJECTED_MAX: Final = 10_000
# A lost connection is an error of redis-py or of the system.
LOST: Final = (RedisError, OSError)

log = structlog.get_logger(__name__)


class _Cycle(Protocol):
    def rotate(self, last_used: str) -> None: ...


class _Timer(Protocol):
    def cancel(self) -> None: ...


class SafeQoS(kombu_redis.QoS):
    """Acknowledgements whose return to the queue may fail."""

    def restore_unacked(self, client: object = None) -> None:
        """Give back what is not acknowledged; leave it to the visibility timeout when Redis is gone.

        In stock kombu the error leaves this channel half closed and those after it open.
        """
        try:
            super().restore_unacked(client)
        except LOST as error:
            log.warning("message.left-unacknowledged", error=str(error))
        finally:
            if self._delivered is not None:
                self._delivered.clear()


class StockChannel(kombu_redis.Channel):
    """A channel with a guard before the worker; countdowns are the worker's, as in stock Celery."""

    QoS = SafeQoS
    holds = False
    _in_poll: object
    _queue_cycle: _Cycle
    _fanout_to_queue: Mapping[str, str]
    connection_errors: tuple[type[Exception], ...]

    def _create_client(self, asynchronous: bool = False) -> Redis:  # noqa: FBT001, FBT002 - kombu's signature
        # kombu builds a client for each command, a fifth of the cost of a publish; with one that is kept,
        # a task costs a worker 753 instead of 1,237 us. It may be shared between threads: each command
        # takes a connection of the pool. Clients for BRPOP and fanout have a pool of their own.
        # It also serves the last close: there kombu asks a connection that is gone for its host, and every
        # worker that holds a message exits with an AttributeError at each restart of Redis.
        if asynchronous:
            return self.Client(connection_pool=self.async_pool)
        return self._kept_client

    @cached_property
    def _kept_client(self) -> Redis:
        return self.Client(connection_pool=self.pool)

    @cached_property
    def bare_client(self) -> Redis:
        """Return a client that puts no prefix before keys: kombu's does so for some commands only."""
        return Redis(connection_pool=self._kept_client.connection_pool)

    @cached_property
    def keys(self) -> Keys:
        """Return the names of our own keys."""
        return Keys(self.global_keyprefix)

    def close(self) -> None:
        """Close; what gave messages back opened the pool once more."""
        super().close()
        if "_kept_client" in self.__dict__:
            self._kept_client.connection_pool.disconnect()

    def _brpop_read(self, **options: object) -> bool:
        # As kombu's, which takes every item for the JSON of a sound message.
        client = self.client
        try:
            try:
                popped: tuple[bytes, bytes] | None = client.parse_response(client.connection, "BRPOP", **options)
            except self.connection_errors:
                client.connection.disconnect()
                raise
            if popped is None:
                raise Empty
            key, item = popped
            queue = key.decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self._receive_item(item, queue)
            return True
        finally:
            self._in_poll = None

    def _receive_item(self, item: bytes, queue: str) -> None:
        transport = cast("StockTransport", self.connection)
        try:
            if queue.endswith(REPLY_QUEUE):
                transport.deliver(read_message(item), queue)
                return
            admitted = admit_task(item, queue)
        except BadMessage as error:
            self.set_aside(item, queue, str(error))
            return
        if not self._keep_for_later(admitted, queue):
            transport.deliver(admitted.payload, queue)

    def _keep_for_later(self, admitted: Admitted, queue: str) -> bool:  # noqa: ARG002
        return False

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        try:
            check_delivery(message)
        except BadMessage as error:
            log.warning("broadcast.dropped", exchange=exchange, problem=str(error))
            raise Empty from error
        cast("StockTransport", self.connection).deliver(message, self._fanout_to_queue[exchange])
        return True

    def set_aside(self, item: bytes, queue: str, reason: str) -> None:
        """Put a message where the sweeper finds it; the newest 10,000 are kept."""
        log.warning("message.set-aside", queue=queue, problem=reason)
        record = set_aside(item, queue, reason)
        key = self.keys.rejected
        run(self.bare_client, ("LPUSH", key, record), ("LTRIM", key, 0, REJECTED_MAX - 1))


class DeferredChannel(StockChannel):
    """A channel whose countdowns wait in Redis until they are near."""

    holds = True

    def _put(self, queue: str, message: Mapping[str, Any], **kwargs: Any) -> None:
        # Every publish ends here, also one of `Producer.batch()`.
        task_id, eta = message["headers"].get("id"), _eta_of(message)
        if task_id is None or eta is None or eta - datetime.now(UTC) <= LOOK_AHEAD:
            super()._put(queue, message, **kwargs)
            return
        command = self._hold_command(task_id, eta, queue, message)
        batch = kwargs.get("_publish_batch")
        if batch is None:
            run(self.bare_client, command)
        else:
            batch.add("execute_command", *command)

    def _keep_for_later(self, admitted: Admitted, queue: str) -> bool:
        # From a sender without our transport, or left over from `stock`.
        eta = admitted.eta
        if eta is None or eta - datetime.now(UTC) <= RECEIPT_AHEAD:
            return False
        run(self.bare_client, self._hold_command(admitted.task_id, eta, queue, admitted.payload))
        return True

    def _hold_command(self, task_id: str, eta: datetime, queue: str, message: Mapping[str, Any]) -> Command:
        step = self.priority(self._get_message_priority(message))
        key = self.keys.queue(f"{queue}{self.sep}{step}" if step else queue)
        [command] = hold_commands(self.keys, [Held(task_id, eta, key, dumps(message).encode())])
        return command

    def move_due(self) -> None:
        """Hand what is due to its queues."""
        run(self.bare_client, move_command(self.keys))


class StockTransport(kombu_redis.Transport):
    """The transport for `CHECKPOINT_TRANSPORT=stock`."""

    Channel = StockChannel

    def deliver(self, payload: Mapping[str, Any], queue: str) -> None:
        """Give a message to the queue's consumer, or back to the queue if it has none here."""
        self._deliver(payload, queue)


class DeferredTransport(StockTransport):
    """The transport for `CHECKPOINT_TRANSPORT=deferred`."""

    Channel = DeferredChannel
    _mover: _Timer | None = None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let the worker's event loop also hand over what is due: any worker does it for all queues."""
        super().register_with_event_loop(connection, loop)
        self._mover = loop.call_repeatedly(MOVE_PERIOD_SECONDS, self._move)

    def close_connection(self, connection: Any) -> None:
        """Close; the next connection has a mover of its own."""
        if self._mover is not None:
            self._mover.cancel()
        super().close_connection(connection)

    def _move(self) -> None:
        channels = [c for c in self.channels or () if isinstance(c, DeferredChannel) and not c.closed]
        if not channels:
            return
        try:
            channels[0].move_due()
        except LOST as error:
            # The consumer notices a lost connection by itself, a full or read-only Redis mends itself.
            if self._outage.goes_on():
                log.warning("countdowns.waiting", seconds=self._outage.seconds, error=str(error))
        else:
            if (seconds := self._outage.ended()) is not None:
                log.info("countdowns.back", seconds=seconds)

    @cached_property
    def _outage(self) -> Outage:
        return Outage()


def _eta_of(message: Mapping[str, Any]) -> datetime | None:
    eta = message["headers"].get("eta")
    try:
        moment = datetime.fromisoformat(eta) if eta else None
    except (TypeError, ValueError):
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


TRANSPORT_ALIASES.update(
    {name: f"{__name__}:{cls.__name__}" for name, cls in ((DEFERRED, DeferredTransport), (STOCK, StockTransport))}
)
# Flower asks for the length of queues by the scheme of the connection's own URL, and knows no other.
Connection.resolve_aliases.update({DEFERRED: "redis", STOCK: "redis"})

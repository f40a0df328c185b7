"""The Celery app, the names of queues and tasks, the route to a node. Source: the contract, section 1."""

import re
import ssl
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import structlog
from celery import Celery, signals
from kombu.utils.json import dumps
from redis import RedisError

from shared.errors import Misconfigured, Refused
from shared.held import RECEIPT_AHEAD
from shared.settings import Settings
from shared.transport import DEFERRED, STOCK, StockChannel

DEFERRALS: Final = "deferrals"
RESUMES: Final = "resumes"
CONTINUATIONS: Final = "continuations"

_NODE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_REPLY_QUEUE: Final = re.compile(r"continuations(\.[a-z0-9_-]{1,64})?")

log = structlog.get_logger(__name__)


class TaskName(StrEnum):
    """What a message says. Names of tasks on our queues, and of messages on reply queues."""

    DEFER = "checkpoint.defer"
    CANCEL = "checkpoint.cancel"
    READY = "checkpoint.ready"
    TAKE = "checkpoint.take"
    RESTORE = "checkpoint.restore"
    COMPLETE = "dependency.complete"
    RESUME = "dependency.resume"
    DONE = "continuation.done"
    CONTINUE = "run.continue"
    PREPARE = "run.prepare"
    REFUSED = "run.refused"
    UNREACHABLE = "run.unreachable"
    TAKEN = "message.taken"


def checkpoints_queue(node: str) -> str:
    """Return the queue of a node's takes and restores.

    Raises:
        Refused: The name could not be a node's.
    """
    if not _NODE.fullmatch(node):
        raise Refused(f"node is {node!r}; expected {_NODE.pattern}. Send the node's own name.", field="node")
    return f"checkpoints.{node}"


def is_reply_queue(name: str) -> bool:
    """Tell whether an upstream may be answered on a queue."""
    return _REPLY_QUEUE.fullmatch(name) is not None


def visibility_timeout(settings: Settings) -> timedelta:
    """Return how long an unacknowledged message is a worker's own.

    Longer than the longest task and than a worker holds a countdown before it, or Celery runs it again
    and again: 405 runs of 100 tasks were measured.
    """
    longest = timedelta(milliseconds=settings.engine_timeout_ms) + RECEIPT_AHEAD
    if settings.transport == "stock":
        longest += timedelta(milliseconds=settings.countdown_horizon_ms)
    return longest


def make_app(name: str, settings: Settings) -> Celery:
    """Return a Celery app on our broker; it has no tasks yet.

    Raises:
        Misconfigured: The broker is no Redis.
    """
    url = settings.broker_url.get_secret_value()
    scheme = urlsplit(url).scheme
    if scheme not in {"redis", "rediss"}:
        raise Misconfigured(
            f"CHECKPOINT_BROKER_URL begins with {scheme!r}; expected redis:// or rediss://. Name a Redis."
        )
    app = Celery(name, broker=url, set_as_current=False)
    app.conf.update(_configuration(settings, is_encrypted=scheme == "rediss"))
    signals.task_unknown.connect(_set_aside_refused, dispatch_uid="set-aside-unknown")
    signals.task_rejected.connect(_set_aside_refused, dispatch_uid="set-aside-rejected")
    return app


def _configuration(settings: Settings, *, is_encrypted: bool) -> dict[str, Any]:
    return {
        "broker_transport": DEFERRED if settings.transport == "deferred" else STOCK,
        # kombu's own default for rediss:// is not to look at the certificate.
        "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED} if is_encrypted else False,
        "broker_transport_options": _transport_options(settings),
        # READONLY after a failover and OOM at the start are channel errors: without it the worker exits.
        "broker_channel_error_retry": True,
        # A worker waits for a Redis that starts later, and for as long as it is away.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Publishing threads of one process that have a connection at once; more wait for one.
        "broker_pool_limit": 10,
        # A worker that dies gives its task to another; every task of ours may run twice.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # Postgres holds every result, and a backend would be one more thing that can be down.
        "task_ignore_result": True,
        "result_backend": None,
        # Any language can write it, and nothing in it can run.
        "task_serializer": "json",
        "accept_content": ["json"],
        # One for each thread: a prefetched checkpoint waits behind a long one while another worker idles.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # A fuse: each held countdown costs a worker 9 KB, and beyond 65,535 kombu drops every limit.
        "worker_eta_task_limit": 10_000,
        # SIGINT twice lets tasks end for this long, then their messages go back to the queue. Work in hand is ended 3 s
        # after the first, unless the second came at once: then after all of this, and `up` allows workers 11 s.
        "worker_soft_shutdown_timeout": 8.0,
        # Without it a worker that only holds countdowns skips the above.
        "worker_enable_soft_shutdown_on_idle": True,
        # A blip of Redis must not end a running checkpoint; the claim in Postgres already stops a second.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # For Flower: 70 % more CPU of a task that does nothing, and one more publish for each that is sent.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        # Queues of nodes and replies are known only when they are used; their names are checked above.
        "task_create_missing_queues": True,
        # The process sets up its own logs.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        "global_keyprefix": settings.key_prefix,
        "visibility_timeout": int(visibility_timeout(settings).total_seconds()),
        # A dead worker's messages come back within 5 s of the timeout; by default within 100.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # A connection that died in silence is noticed after 11 s; by default after 51.
        "health_check_interval": 5,
        # Without one a publish to a Redis that died in silence waits for ever.
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # `retry_on_timeout` stays unset: it would repeat a publish, and kombu then sends no batches.
    }


class _Message(Protocol):
    channel: object
    delivery_info: dict[str, str]

    def serializable(self) -> dict[str, Any]: ...


def _set_aside_refused(*, message: _Message, exc: Exception | None, **_: object) -> None:
    # Celery logs and drops what names no task here, or one whose headers it cannot read.
    if not isinstance(message.channel, StockChannel):
        return
    queue = message.delivery_info["routing_key"]
    item = dumps(message.serializable()).encode()
    reason = f"no task of this worker: {exc}" if isinstance(exc, KeyError) else str(exc)
    try:
        message.channel.set_aside(item, queue, reason)
    except (RedisError, OSError) as error:
        log.warning("message.lost", queue=queue, problem=reason, error=str(error))

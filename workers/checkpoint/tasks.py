"""The checkpoint worker: Celery's edge of takes and restores; it also drains `deferrals` and holds the agent."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from shared.broker import Keys
from shared.connections import Connections
from shared.db.rejections import Rejection, keep
from shared.errors import Refused
from shared.messages import Message, Restore, Take
from shared.queues import TaskName, checkpoints_queue, make_app
from shared.reading import read
from shared.settings import current_settings
from workers.checkpoint.defer import DeferStory
from workers.checkpoint.restore import restore
from workers.checkpoint.take import take
from workers.cli.kinds import WorkerKind
from workers.drain import Drain
from workers.node.agent import Agent
from workers.node.node import Node
from workers.steps import Runner, run_beside
from workers.watchers import EventWatcher

M = TypeVar("M", bound=Message)

log = structlog.get_logger(__name__)
settings = current_settings()
app = make_app("checkpoint", settings)


@cache
def this_node() -> Node:
    """Return the node with its connections: one for each thread that takes, one for the agent."""
    return Node(Connections.open(settings, name=f"checkpoint {settings.node}", size=settings.take_concurrency + 2))


@app.task(name=TaskName.TAKE, bind=True)
def take_task(self: Any, *args: Any, **kwargs: Any) -> str | None:
    """Take a checkpoint whose delay is over; the result is how it ended."""
    message = _read(args, kwargs, Take, task_id=self.request.id)
    if message is None:
        return None
    with bound_contextvars(run_id=message.run_id, wait_number=message.wait_number, task_id=self.request.id):
        return take(this_node(), message)


@app.task(name=TaskName.RESTORE, bind=True)
def restore_task(self: Any, *args: Any, **kwargs: Any) -> str | None:
    """Bring a frozen run back; the result is how it ended."""
    message = _read(args, kwargs, Restore, task_id=self.request.id)
    if message is None:
        return None
    with bound_contextvars(run_id=message.run_id, wait_number=message.wait_number, task_id=self.request.id):
        return restore(this_node(), message)


def _read(args: Sequence[Any], kwargs: dict[str, Any], type_: type[M], *, task_id: str) -> M | None:
    """Read what the message says; what breaks a rule is set aside, since nobody is there to be told."""
    # As Celery's own client writes it: what kombu decoded may hold numbers and texts that ours refuses to encode.
    raw = json.dumps(kwargs, default=str).encode()
    try:
        if args:
            raise Refused("args has values; expected keyword arguments only.", field="args")
        return read(raw, type_)
    except Refused as refused:
        log.warning("message.refused", task_id=task_id, code=refused.code, problem=refused.message)
        rejection = Rejection(
            queue=checkpoints_queue(settings.node),
            code=refused.code,
            problem=refused.message,
            facts=refused.facts,
            raw=raw[:65_536],
            message_id=task_id,
        )
        with this_node().connections.pool.connection() as conn:
            keep(conn, [rejection])
        return None


def _beside(hostname: str) -> list[Runner]:
    drain = Drain(DeferStory(settings, Keys(settings.key_prefix)), settings, EventWatcher(app, hostname))
    return [drain, Agent(this_node())]


run_beside(app, WorkerKind.CHECKPOINT, settings, _beside)

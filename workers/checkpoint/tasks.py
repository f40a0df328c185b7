"""The checkpoint worker: Celery's edge of takes and restores; it also drains `deferrals` and holds the agent."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Final, TypeVar

import structlog
from celery import signals
from structlog.contextvars import bound_contextvars

from shared.broker import Keys
from shared.connections import Connections
from shared.db.checkpoints import Outlook, outlook
from shared.db.moment import is_of_the_moment
from shared.db.rejections import Rejection, keep
from shared.errors import Refused
from shared.messages import Message, Restore, Take
from shared.queues import TaskName, checkpoints_queue, make_app
from shared.reading import read
from shared.settings import current_settings
from workers.checkpoint.defer import DeferStory
from workers.checkpoint.requests import ShownRequest, ends_as
from workers.checkpoint.restore import Restored, restore
from workers.checkpoint.shown import PLAIN, ending_of
from workers.checkpoint.take import Taken, take
from workers.cli.kinds import WorkerKind
from workers.control import refuse_revokes
from workers.drain import Drain
from workers.node.agent import Agent
from workers.node.node import Node
from workers.node.stopping import Stopping
from workers.shown import TEXT_MAX, Ending, Word
from workers.steps import Runner, run_beside
from workers.watchers import EventWatcher

M = TypeVar("M", bound=Message)
OUTLOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)
settings = current_settings()
app = make_app("checkpoint", settings)
stopping = Stopping()


@cache
def this_node() -> Node:
    """Return the node with its connections: one for each thread that takes, one for the agent."""
    at = Connections.open(settings, name=f"checkpoint {settings.node}", size=settings.take_concurrency + 2)
    return Node(at, stopping)


@app.task(name=TaskName.TAKE, bind=True, Request=ShownRequest)
def take_task(self: Any, *args: Any, **kwargs: Any) -> str | None:
    """Take a checkpoint whose delay is over; the result is how it ended."""
    message = _read(args, kwargs, Take, request=self.request)
    if message is None:
        return None
    with _about(message, self.request):
        outcome = take(this_node(), message)
        ends_as(ending_of(outcome, _outlook(outcome, message.dependency_id)))
        return outcome


@app.task(name=TaskName.RESTORE, bind=True, Request=ShownRequest)
def restore_task(self: Any, *args: Any, **kwargs: Any) -> str | None:
    """Bring a frozen run back; the result is how it ended."""
    message = _read(args, kwargs, Restore, request=self.request)
    if message is None:
        return None
    with _about(message, self.request):
        outcome = restore(this_node(), message)
        ends_as(ending_of(outcome, _outlook(outcome, message.dependency_id)))
        return outcome


def _about(message: Take | Restore, request: Any) -> AbstractContextManager[None]:
    """Say on every line of a take or restore which run, wait and message it is about."""
    return bound_contextvars(
        run_id=message.run_id,
        wait_number=message.wait_number,
        dependency_id=message.dependency_id,
        task=request.task,
        message_id=request.id,
    )


def _read(args: Sequence[Any], kwargs: dict[str, Any], type_: type[M], *, request: Any) -> M | None:
    """Read what the message says; what breaks a rule is set aside, since nobody is there to be told."""
    task, message_id = request.task, request.id
    # As Celery's own client writes it: what kombu decoded may hold numbers and texts that ours refuses to encode.
    raw = json.dumps(kwargs, default=str).encode()
    try:
        if args:
            raise Refused("args has values; expected keyword arguments only.", field="args")
        return read(raw, type_)
    except Refused as refused:
        log.info(
            "message.refused",
            code=refused.code,
            problem=refused.message,
            queue=checkpoints_queue(settings.node),
            task=task,
            message_id=message_id,
            facts=refused.facts,
        )
        rejection = Rejection(
            queue=checkpoints_queue(settings.node),
            code=refused.code,
            problem=refused.message,
            facts=refused.facts,
            raw=raw[:65_536],
            message=task,
            message_id=message_id,
        )
        with this_node().connections.pool.connection() as conn:
            keep(conn, [rejection])
        ends_as(Ending(Word.REFUSED, f"{refused.code}: {refused.message}"[:TEXT_MAX]))
        return None


def _outlook(outcome: Taken | Restored, dependency_id: str) -> Outlook | None:
    """Read what explains an outcome, only to be shown: a Postgres that does not answer is not waited for."""
    if outcome in PLAIN:
        return None
    try:
        with this_node().connections.pool.connection(timeout=OUTLOOK_SECONDS) as conn:
            return outlook(conn, dependency_id)
    except Exception as error:
        if not is_of_the_moment(error):
            raise
        log.info("outlook.left-out", error=str(error).strip())
        return None


def _beside(hostname: str) -> list[Runner]:
    drain = Drain(DeferStory(settings, Keys(settings.key_prefix)), settings, EventWatcher(app, hostname))
    return [drain, Agent(this_node())]


@signals.worker_shutting_down.connect(weak=False)
def _stop(**_: Any) -> None:
    """Hear SIGTERM or SIGINT, each time that one comes."""
    stopping.begin()


refuse_revokes()
run_beside(app, WorkerKind.CHECKPOINT, settings, _beside)

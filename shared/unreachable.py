"""Telling an upstream that a run of its cannot be reached: a net for it, since nothing that we know of is lost by it.

As long as its node may come back the run is brought back then, and this is only news. Once nothing is left of the run,
it takes the place of the continuation, and is sent until `continuation.done`, or a cancel, answers it.
"""

from datetime import datetime
from typing import Any, Protocol
from uuid import uuid4

from shared.messages import Unreachable
from shared.post import Post
from shared.queues import TaskName
from shared.vocabulary import Unreached


class Waiting(Protocol):
    """A wait whose run cannot be reached."""

    @property
    def id(self) -> str:
        """Of the dependency."""
        ...

    @property
    def run_id(self) -> str:
        """Of the run."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt waits."""
        ...

    @property
    def wait_number(self) -> int:
        """Which wait it is."""
        ...

    @property
    def workload(self) -> dict[str, Any]:
        """Where it lives, or lived."""
        ...

    @property
    def reply_to(self) -> str:
        """Where its upstream listens."""
        ...

    @property
    def traceparent(self) -> str | None:
        """Its trace."""
        ...


def add_silent(post: Post, wait: Waiting, *, seen_at: datetime | None) -> None:
    """Add the news that a run's node is silent.

    Args:
        post: Where to add it.
        wait: The run's wait.
        seen_at: When the node was seen last; None: never.
    """
    node, engine = wait.workload.get("node"), wait.workload.get("engine")
    problem = (
        f"node {node}, on which the run is, has not been seen in time, or no longer offers the engine {engine}. The "
        "run goes on if the node comes back. Wait for that, or give the attempt up with checkpoint.cancel "
        "(ATTEMPT_OVER) and start the next."
    )
    _add(post, wait, code=Unreached.NODE_SILENT, problem=problem, since=seen_at)


def add_refused(post: Post, wait: Waiting, *, error: str) -> None:
    """Add the news that a run's restore failed in a way that no other try mends, but somebody may."""
    problem = (
        f"the run is frozen, and its restore was refused: {error} It is tried again with growing gaps, and goes on "
        "once that is mended. Have it mended, or give the attempt up with checkpoint.cancel (ATTEMPT_OVER) and start "
        "the next."
    )
    _add(post, wait, code=Unreached.RESTORE_REFUSED, problem=problem, since=None)


def add_gone(post: Post, wait: Waiting, *, lost_at: datetime | None, error: str | None) -> None:
    """Add the news that nothing is left of a frozen run."""
    problem = (
        f"the run was frozen, and nothing of it is left: {error} It will never go on from this wait. Answer with "
        "continuation.done, or with checkpoint.cancel (ATTEMPT_OVER) before the next attempt starts."
    )
    _add(post, wait, code=Unreached.RUN_GONE, problem=problem, since=lost_at)


def _add(post: Post, wait: Waiting, *, code: Unreached, problem: str, since: datetime | None) -> None:
    message = Unreachable(
        v=1,
        run_id=wait.run_id,
        attempt=wait.attempt,
        wait_number=wait.wait_number,
        dependency_id=wait.id,
        continuation_id=wait.id,
        code=code,
        final=code is Unreached.RUN_GONE,
        problem=problem,
        workload=wait.workload,
        since=since,
        traceparent=wait.traceparent,
    )
    post.add(wait.reply_to, TaskName.UNREACHABLE, message, task_id=str(uuid4()), traceparent=wait.traceparent)

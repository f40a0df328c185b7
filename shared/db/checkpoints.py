"""The rows of `checkpoint`: claimed, offered, put back, closed, freed, restored. Every write carries its epoch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.db.statements import statement
from shared.vocabulary import CheckpointStatus


@dataclass(frozen=True, slots=True)
class Claim:
    """A checkpoint that this worker may take as long as it holds the node lock."""

    id: int
    dependency_id: str
    run_id: str
    attempt: int
    wait_number: int
    workload: dict[str, Any]
    epoch: int
    tries: int


@dataclass(frozen=True, slots=True)
class State:
    """What a take found that could not claim; `id` and `status` are None where no checkpoint row exists.

    `answer_by` is set while a run that was asked has not answered, also when that time is over.
    """

    dependency_id: str
    run_id: str
    attempt: int
    wait_number: int
    workload: dict[str, Any]
    reply_to: str
    is_over: bool
    rest: timedelta | None
    answer_by: datetime | None
    id: int | None
    status: str | None
    epoch: int | None
    is_freed: bool
    is_discarded: bool
    restored_workload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewestWait:
    """What Postgres says of the newest wait of a workload."""

    is_frozen: bool
    is_let_go: bool | None
    location: str | None


@dataclass(frozen=True, slots=True)
class Left:
    """A checkpoint that nobody will restore any more, of which something may be left on a node."""

    id: int
    run_id: str
    workload: dict[str, Any]
    epoch: int
    restored_workload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a wait's checkpoint stands, for those who watch; `status` is None where no checkpoint row exists."""

    status: CheckpointStatus | None
    error: str | None
    due_at: datetime | None
    is_over: bool


Closed = Literal["refused", "revoked", "failed"]


def claim(conn: Connection[Any], dependency_id: str, *, run_id: str, node: str, grace: timedelta) -> Claim | None:
    """Claim a due checkpoint for a try; None: not due, over, or nothing to take (see `state`).

    The run and the node are those whose lock is held: a forged message must not be served under another's.
    """
    with conn.cursor(row_factory=class_row(Claim)) as cur:
        return cur.execute(
            statement("checkpoint/claim"), {"id": dependency_id, "run_id": run_id, "node": node, "grace": grace}
        ).fetchone()


def ask(
    conn: Connection[Any], dependency_id: str, *, run_id: str, node: str, patience: timedelta, grace: timedelta
) -> bool:
    """Ask the run of a due checkpoint whether it may be frozen; False: not to be asked now (see `state`).

    Args:
        conn: In the transaction of the claim that found nothing.
        dependency_id: What it waits for.
        run_id: Whose lock is held.
        node: Where it runs.
        patience: How long it may take to answer.
        grace: When a sweep looks after that.
    """
    named = {"id": dependency_id, "run_id": run_id, "node": node, "patience": patience, "grace": grace}
    return conn.execute(statement("checkpoint/ask"), named).rowcount == 1


def close_unanswered(conn: Connection[Any], checkpoint_id: int, *, error: str) -> bool:
    """End the checkpoint of a run that did not answer in time. False: it did, there is time, or it is closed."""
    named = {"id": checkpoint_id, "error": error}
    return conn.execute(statement("checkpoint/close_unanswered"), named).rowcount == 1


def state(conn: Connection[Any], dependency_id: str, *, run_id: str, node: str) -> State | None:
    """Read what a take could not claim; None: no such wait of this run on this node."""
    with conn.cursor(row_factory=class_row(State)) as cur:
        return cur.execute(
            statement("checkpoint/state"), {"id": dependency_id, "run_id": run_id, "node": node}
        ).fetchone()


def offer(
    conn: Connection[Any],
    claim: Claim,
    *,
    location: str,
    digest: str | None,
    image_bytes: int,
    is_portable: bool,
    phases: Mapping[str, int],
    grace: timedelta,
) -> bool:
    """Hand an image to Postgres. False: the wait ended, or the claim is another's; the caller rolls back."""
    return (
        conn.execute(
            statement("checkpoint/offer"),
            {
                "id": claim.id,
                "dependency_id": claim.dependency_id,
                "epoch": claim.epoch,
                "location": location,
                "digest": digest,
                "image_bytes": image_bytes,
                "is_portable": is_portable,
                "phases": Jsonb(dict(phases)),
                "grace": grace,
            },
        ).rowcount
        == 1
    )


def is_accepted(conn: Connection[Any], checkpoint_id: int, *, location: str) -> bool:
    """Read what became of an offer whose answer was lost; the location names its epoch."""
    return (
        conn.execute(statement("checkpoint/is_accepted"), {"id": checkpoint_id, "location": location}).fetchone()
        is not None
    )


def retry(conn: Connection[Any], claim: Claim, *, delay: timedelta, grace: timedelta, error: str | None) -> bool:
    """Put a claim back for another try; an error counts as a failed try. False: the claim was lost."""
    return (
        conn.execute(
            statement("checkpoint/retry"),
            {
                "id": claim.id,
                "epoch": claim.epoch,
                "delay": delay,
                "grace": grace,
                "error": error,
                "failed": int(error is not None),
            },
        ).rowcount
        == 1
    )


def close(conn: Connection[Any], checkpoint_id: int, *, epoch: int, status: Closed, error: str | None = None) -> bool:
    """End a checkpoint that will not be taken. False: the claim was lost, or (revoked) the wait is not over."""
    return (
        conn.execute(
            statement("checkpoint/close"),
            {"id": checkpoint_id, "epoch": epoch, "status": status, "error": error},
        ).rowcount
        == 1
    )


def freed(conn: Connection[Any], checkpoint_id: int) -> bool:
    """Write down that the frozen process is gone. False: somebody did before."""
    return conn.execute(statement("checkpoint/freed"), {"id": checkpoint_id}).rowcount == 1


def discard(conn: Connection[Any], checkpoint_id: int, *, phases: Mapping[str, int]) -> bool:
    """Write down that what a restored or discarded checkpoint stored is gone. False: somebody did before."""
    return (
        conn.execute(statement("checkpoint/discard"), {"id": checkpoint_id, "phases": Jsonb(dict(phases))}).rowcount
        == 1
    )


def left(conn: Connection[Any], *, node: str, limit: int) -> list[Left]:
    """Return what restores may have left on a node, at most `limit`."""
    with conn.cursor(row_factory=class_row(Left)) as cur:
        return cur.execute(statement("checkpoint/left"), {"node": node, "limit": limit}).fetchall()


def nothing_left(conn: Connection[Any], checkpoint_id: int, *, node: str) -> None:
    """Write down that nothing of a checkpoint is left on a node."""
    conn.execute(statement("checkpoint/nothing_left"), {"id": checkpoint_id, "node": node})


def outlook(conn: Connection[Any], dependency_id: str) -> Outlook | None:
    """Read how a wait's checkpoint stands; None: no such wait."""
    row = conn.execute(statement("checkpoint/outlook"), {"id": dependency_id}).fetchone()
    if row is None:
        return None
    status, error, due_at, is_over = row
    return Outlook(CheckpointStatus(status) if status else None, error, due_at, is_over)


def newest_wait(conn: Connection[Any], *, run_id: str, workload: dict[str, Any]) -> NewestWait | None:
    """Read the newest wait of a workload; None: it has none."""
    with conn.cursor(row_factory=class_row(NewestWait)) as cur:
        return cur.execute(
            statement("checkpoint/newest_wait"), {"run_id": run_id, "workload": Jsonb(workload)}
        ).fetchone()


def of_workloads(conn: Connection[Any], workloads: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the run and the workload of each process that was ever frozen, or restored, among these."""
    return conn.execute(
        statement("checkpoint/of_workloads"), {"workloads": [Jsonb(one) for one in workloads]}
    ).fetchall()

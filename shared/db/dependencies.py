"""The rows of `dependency`, the arbiter: completed, resumed, done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from shared.db.deferrals import Refusal
from shared.db.raw_json import array
from shared.db.statements import only, statement

OUTCOMES_BYTES_MAX: Final = 1_048_576  # of a batch, in one continuation; more are left out of it


class CompleteAnswer(msgspec.Struct, frozen=True):
    """The answer to `complete`: whether it was the first, and whether a wait for it is known."""

    first: bool = False
    waiter_known: bool = False
    open_items: int | None = None
    refused: Refusal | None = None


class Completions(msgspec.Struct, frozen=True):
    """What became of a batch of completions: one answer for each, and which ids changed."""

    completed: list[str]
    early: list[str]
    answers: list[CompleteAnswer]


@dataclass(frozen=True, slots=True)
class Resumed:
    """A wait that is resumed and not done, and what its continuation or restore needs."""

    id: str
    run_id: str
    attempt: int
    wait_number: int
    reason: str
    workload: dict[str, Any]
    reply_to: str
    traceparent: str | None
    resume_at: datetime | None
    outcome: Any
    outcome_type: str
    is_batch: bool
    batch_outcomes: dict[str, Any] | None  # None also where they are too many bytes for a message
    resumed_at: datetime
    is_planned: bool  # whether a checkpoint was to be taken
    checkpoint_id: int | None
    checkpoint_status: str | None
    restored_workload: dict[str, Any] | None
    location: str | None
    digest: str | None
    image_bytes: int | None
    epoch: int | None
    restore_node: str | None  # that can bring it back now; None also where there is nothing to restore
    node_seen_at: datetime | None
    lost_at: datetime | None
    error: str | None


_completions = msgspec.json.Decoder(Completions)


def complete(conn: Connection[Any], bodies: Iterable[bytes], *, how: Literal["resume", "hint"]) -> Completions:
    """Record checked completions.

    Args:
        conn: In the caller's transaction.
        bodies: The messages' JSON.
        how: `resume` (the resume worker alone): their waits are resumed by the same update. `hint`: the caller
            sends the hint after its commit.
    """
    row = conn.execute(statement("dependency/complete"), {"messages": array(bodies), "how": how}).fetchone()
    return _completions.decode(only(row))


def resume(conn: Connection[Any], ids: Sequence[str]) -> list[str]:
    """Resume those that are complete and not resumed; return their ids. The others are left as they are."""
    return [id_ for (id_,) in conn.execute(statement("dependency/resume"), {"ids": list(ids)})]


def to_continue(conn: Connection[Any], ids: Sequence[str]) -> list[Resumed]:
    """Read what the resumed and unfinished waits among these call for."""
    with conn.cursor(row_factory=class_row(Resumed)) as cur:
        return cur.execute(
            statement("dependency/continue"), {"ids": list(ids), "bytes_max": OUTCOMES_BYTES_MAX}
        ).fetchall()


def done(conn: Connection[Any], ids: Sequence[str]) -> list[str]:
    """End the continuations of these waits; return those that this call ended."""
    return [id_ for (id_,) in conn.execute(statement("dependency/done"), {"ids": list(ids)})]


def end_manual(conn: Connection[Any], dependency_id: str) -> bool:
    """Let a MANUAL wait without a time end now; False: it is none, or its end is known."""
    return conn.execute(statement("dependency/end_manual"), {"id": dependency_id}).rowcount == 1

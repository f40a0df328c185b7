"""The rows of `checkpoint` on their way back: claimed under a lease, permitted, given back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.db.statements import statement


@dataclass(frozen=True, slots=True)
class RestoreClaim:
    """A checkpoint that this worker may restore until its lease runs out."""

    id: int
    dependency_id: str
    run_id: str
    attempt: int
    wait_number: int
    workload: dict[str, Any]
    epoch: int
    location: str
    digest: str | None
    image_bytes: int
    is_portable: bool
    restores: int
    is_freed: bool


def claim_restore(
    conn: Connection[Any], dependency_id: str, *, run_id: str, node: str, lease: timedelta
) -> RestoreClaim | None:
    """Claim an accepted checkpoint of a resumed wait for a node; None: another has it, or nothing is to be restored."""
    with conn.cursor(row_factory=class_row(RestoreClaim)) as cur:
        return cur.execute(
            statement("checkpoint/claim_restore"),
            {"dependency_id": dependency_id, "run_id": run_id, "node": node, "lease": lease},
        ).fetchone()


def permit(
    conn: Connection[Any],
    claim: RestoreClaim,
    *,
    workload: dict[str, Any],
    phases: Mapping[str, int],
    grace: timedelta,
) -> bool:
    """Permit a held process to run. False: not, unless a lost answer says so (`is_permitted`)."""
    return (
        conn.execute(
            statement("checkpoint/permit"),
            {
                "id": claim.id,
                "epoch": claim.epoch,
                "workload": Jsonb(workload),
                "phases": Jsonb(dict(phases)),
                "grace": grace,
            },
        ).rowcount
        == 1
    )


def is_permitted(conn: Connection[Any], claim: RestoreClaim) -> bool:
    """Read whether an earlier permit of this claim went through."""
    return (
        conn.execute(statement("checkpoint/is_permitted"), {"id": claim.id, "epoch": claim.epoch}).fetchone()
        is not None
    )


def give_back(conn: Connection[Any], claim: RestoreClaim, *, error: str, is_gone: bool = False) -> bool:
    """Give up a try of a restore; another comes. False: the lease was lost, or the run is over.

    Args:
        conn: In the caller's transaction.
        claim: The try.
        error: Why it failed.
        is_gone: The workload's own node finds nothing to restore.
    """
    values = {"id": claim.id, "epoch": claim.epoch, "error": error, "is_gone": is_gone}
    return conn.execute(statement("checkpoint/give_back"), values).rowcount == 1


def lose(conn: Connection[Any], claim: RestoreClaim, *, node: str, error: str, patience: timedelta) -> bool:
    """Give a frozen run up: its own node has found nothing to restore for so long. False: not yet, see `is_lost`."""
    values = {"id": claim.id, "epoch": claim.epoch, "node": node, "error": error, "patience": patience}
    return conn.execute(statement("checkpoint/lose"), values).rowcount == 1


def is_lost(conn: Connection[Any], claim: RestoreClaim) -> bool:
    """Read whether an earlier `lose` of this claim went through."""
    return conn.execute(statement("checkpoint/is_lost"), {"id": claim.id, "epoch": claim.epoch}).fetchone() is not None

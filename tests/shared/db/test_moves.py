"""Every legal move of a checkpoint is made by a statement or a function, and they make no other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
import pytest
from bad_defers import good
from sql_door import SqlDoor

from shared.db import checkpoints, restores
from shared.db.checkpoints import Claim, Closed
from shared.db.restores import RestoreClaim

AT_ONCE: Final = timedelta(0)
SECOND: Final = timedelta(seconds=1)


@dataclass
class Case:
    """A wait whose checkpoint is moved on."""

    door: SqlDoor
    wait: dict[str, Any]
    taken: Claim | None = None
    restored: RestoreClaim | None = None

    @property
    def claimed(self) -> Claim:
        """The claim of a take."""
        assert self.taken is not None
        return self.taken

    @property
    def restore(self) -> RestoreClaim:
        """The claim of a restore."""
        assert self.restored is not None
        return self.restored

    @property
    def status(self) -> str:
        """Where the checkpoint stands."""
        return self.door.checkpoint(self.claimed.id)["status"]


Move = Callable[[Case], object]


def claim(case: Case) -> None:
    """Claim it for a try."""
    name, run_id = case.wait["dependency"]["id"], case.wait["run_id"]
    case.taken = checkpoints.claim(case.door.conn, name, run_id=run_id, node="node-1", grace=SECOND)


def retry(case: Case) -> None:
    """Put it back."""
    assert checkpoints.retry(case.door.conn, case.claimed, delay=AT_ONCE, grace=SECOND, error="e")


def offer(case: Case) -> None:
    """Offer its image."""
    given: dict[str, Any] = {
        "location": "x",
        "digest": None,
        "image_bytes": 0,
        "is_portable": False,
        "phases": {},
        "grace": SECOND,
    }
    assert checkpoints.offer(case.door.conn, case.claimed, **given)


def close(status: Closed) -> Move:
    """End it; `revoked` needs a wait that is over."""

    def do(case: Case) -> None:
        if status == "revoked":
            case.door.complete(case.wait["dependency"]["id"])
        assert checkpoints.close(case.door.conn, case.claimed.id, epoch=case.claimed.epoch, status=status)

    return do


def claim_restore(case: Case) -> None:
    """Resume its wait and claim its restore."""
    name = case.wait["dependency"]["id"]
    case.door.resume(name)
    case.restored = restores.claim_restore(
        case.door.conn, name, run_id=case.wait["run_id"], node="node-1", lease=SECOND
    )


def give_back(case: Case) -> None:
    """Give its restore up."""
    assert restores.give_back(case.door.conn, case.restore, error="e")


def lose(case: Case) -> None:
    """Give it up: nothing is left of it."""
    assert restores.lose(case.door.conn, case.restore, node="node-1", error="e", patience=AT_ONCE)


def permit(case: Case) -> None:
    """Permit what was restored."""
    assert restores.permit(case.door.conn, case.restore, workload={}, phases={}, grace=SECOND)


def cancel(case: Case) -> None:
    """End its run."""
    case.door.cancel(case.wait["run_id"], "RUN_CANCELLED")


# The steps to each status that is left by a move, and the moves from there.
TAKING: Final[list[Move]] = [claim]
DEFERRED: Final[list[Move]] = [claim, retry]
ACCEPTED: Final[list[Move]] = [claim, offer]
RESTORING: Final[list[Move]] = [claim, offer, claim_restore]
MOVES: Final[dict[tuple[str, str], tuple[list[Move], Move]]] = {
    ("taking", "accepted"): (TAKING, offer),
    ("taking", "deferred"): (TAKING, retry),
    ("taking", "refused"): (TAKING, close("refused")),
    ("taking", "revoked"): (TAKING, close("revoked")),
    ("taking", "failed"): (TAKING, close("failed")),
    ("deferred", "taking"): (DEFERRED, claim),
    ("deferred", "refused"): (DEFERRED, close("refused")),
    ("deferred", "revoked"): (DEFERRED, close("revoked")),
    ("deferred", "failed"): (DEFERRED, close("failed")),
    ("accepted", "restoring"): (ACCEPTED, claim_restore),
    ("accepted", "discarded"): (ACCEPTED, cancel),
    ("restoring", "discarded"): (RESTORING, cancel),
    ("restoring", "accepted"): (RESTORING, give_back),
    ("restoring", "restored"): (RESTORING, permit),
    ("restoring", "lost"): (RESTORING, lose),
}

ENDS: Final = [move for move in MOVES if move[1] not in {left for left, _ in MOVES}]


@pytest.fixture
def door(database_url: str) -> Iterator[SqlDoor]:
    """An upstream's connection; the node `node-1` lives."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO node VALUES ('node-1', '{simulate}', now())")
        yield SqlDoor(conn)


def test_every_move_of_the_table_is_made(door: SqlDoor) -> None:
    """Each by its statement, from the status that the table names to the one that it names."""
    made: set[tuple[str, str]] = set()
    for steps, move in MOVES.values():
        case = Case(door, good(delay_ms=0))
        door.defer(case.wait)
        for step in steps:
            step(case)
        before = case.status
        move(case)
        made.add((before, case.status))

    table = door.conn.execute("SELECT from_status, to_status FROM checkpoint_move").fetchall()
    assert made == MOVES.keys() == set(table)


@pytest.mark.parametrize("end", ENDS, ids=" to ".join)
def test_what_is_over_is_moved_by_nothing(end: tuple[str, str], door: SqlDoor) -> None:
    """A status that no move leaves is the last: a late message finds nothing to change."""
    steps, move = MOVES[end]
    case = Case(door, good(delay_ms=0))
    door.defer(case.wait)
    for step in [*steps, move]:
        step(case)
    before = door.checkpoint(case.claimed.id)
    taken, restored = case.claimed, case.restored

    name, run_id = case.wait["dependency"]["id"], case.wait["run_id"]
    assert checkpoints.claim(door.conn, name, run_id=run_id, node="node-1", grace=SECOND) is None
    assert restores.claim_restore(door.conn, name, run_id=run_id, node="node-1", lease=AT_ONCE) is None
    assert not checkpoints.retry(door.conn, taken, delay=AT_ONCE, grace=SECOND, error="e")
    assert not checkpoints.close(door.conn, taken.id, epoch=before["epoch"], status="failed")
    if restored is not None:
        assert not restores.permit(door.conn, restored, workload={}, phases={}, grace=SECOND)
        assert not restores.give_back(door.conn, restored, error="e")
        assert not restores.lose(door.conn, restored, node="node-1", error="e", patience=AT_ONCE)

    assert door.checkpoint(case.claimed.id) == before


def test_a_claim_that_was_taken_over_moves_nothing(door: SqlDoor) -> None:
    """Every write carries its epoch: what a slow worker says after another's claim changes nothing."""
    case = Case(door, good(delay_ms=0))
    door.defer(case.wait)
    for step in DEFERRED:
        step(case)
    old = case.claimed
    claim(case)

    given: dict[str, Any] = {
        "location": "x",
        "digest": None,
        "image_bytes": 0,
        "is_portable": False,
        "phases": {},
        "grace": SECOND,
    }
    with door.conn.transaction(force_rollback=True):
        assert not checkpoints.offer(door.conn, old, **given)
    assert not checkpoints.retry(door.conn, old, delay=AT_ONCE, grace=SECOND, error="e")
    assert not checkpoints.close(door.conn, old.id, epoch=old.epoch, status="failed")

    offer(case)
    claim_restore(case)
    late = case.restore
    door.conn.execute("UPDATE checkpoint SET lease_until = now() WHERE id = %s", [late.id])
    name, run_id = case.wait["dependency"]["id"], case.wait["run_id"]
    case.restored = restores.claim_restore(door.conn, name, run_id=run_id, node="node-1", lease=SECOND)

    assert not restores.permit(door.conn, late, workload={}, phases={}, grace=SECOND)
    assert not restores.give_back(door.conn, late, error="e")
    permit(case)

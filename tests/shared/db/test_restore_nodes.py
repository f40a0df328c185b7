"""Which node brings a frozen run back: its own, else one that is seen, offers the engine and can fetch the image."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import psycopg
import pytest
from bad_defers import good
from sql_door import SqlDoor

from shared.db import dependencies, restores

SECOND: Final = timedelta(seconds=1)
NODES: Final = "INSERT INTO node VALUES (%s, %s, now() - %s * interval '1 hour')"


@pytest.fixture
def door(database_url: str) -> Iterator[SqlDoor]:
    """An upstream's connection; the node `node-1`, on which its runs are, lives."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(NODES, ("node-1", ["simulate"], 0))
        yield SqlDoor(conn)


def frozen(door: SqlDoor, *, is_portable: bool) -> str:
    """Have a run frozen and its wait ended; return its dependency."""
    wait = good(delay_ms=0)
    door.defer(wait)
    checkpoint_id = door.freeze(wait)
    door.conn.execute("UPDATE checkpoint SET is_portable = %s WHERE id = %s", (is_portable, checkpoint_id))
    door.resume(wait["dependency"]["id"])
    return wait["dependency"]["id"]


def asked(door: SqlDoor, dependency_id: str) -> str | None:
    """Return the node that is asked for a restore."""
    (row,) = dependencies.to_continue(door.conn, [dependency_id])
    return row.restore_node


def fall_silent(door: SqlDoor, name: str) -> None:
    """Have a node not been seen for an hour."""
    door.conn.execute("UPDATE node SET seen_at = now() - interval '1 hour' WHERE name = %s", (name,))


@pytest.mark.parametrize("is_portable", [True, False])
def test_the_own_node_is_asked_while_it_is_seen(door: SqlDoor, is_portable: bool) -> None:  # noqa: FBT001 - a parameter
    """However many others could."""
    door.conn.execute(NODES, ("node-2", ["simulate"], 0))
    assert asked(door, frozen(door, is_portable=is_portable)) == "node-1"


def test_another_is_asked_that_is_seen_and_offers_the_engine(door: SqlDoor) -> None:
    """Each of those in its turn, so that the runs of a node are spread over them; no other ever."""
    for name, engine, hours in (
        ("two", "simulate", 0),
        ("three", "simulate", 0),
        ("cri", "cri", 0),
        ("old", "simulate", 1),
    ):
        door.conn.execute(NODES, (name, [engine], hours))
    name = frozen(door, is_portable=True)
    fall_silent(door, "node-1")

    assert {asked(door, name) for _ in range(100)} == {"two", "three"}


def test_nobody_is_asked_for_an_image_that_a_silent_node_keeps(door: SqlDoor) -> None:
    """Nor may another claim it, whatever message it got."""
    door.conn.execute(NODES, ("node-2", ["simulate"], 0))
    name = frozen(door, is_portable=False)
    (row,) = dependencies.to_continue(door.conn, [name])
    fall_silent(door, "node-1")

    assert asked(door, name) is None
    assert restores.claim_restore(door.conn, name, run_id=row.run_id, node="node-2", lease=SECOND) is None
    assert restores.claim_restore(door.conn, name, run_id=row.run_id, node="node-1", lease=SECOND) is not None


def test_another_nodes_word_is_not_enough_to_give_a_run_up(door: SqlDoor) -> None:
    """It may look into another store; the run's own node decides."""
    name = frozen(door, is_portable=True)
    (row,) = dependencies.to_continue(door.conn, [name])
    claim = restores.claim_restore(door.conn, name, run_id=row.run_id, node="node-2", lease=SECOND)
    assert claim is not None

    assert not restores.lose(door.conn, claim, node="node-2", error="no image", patience=timedelta(0))

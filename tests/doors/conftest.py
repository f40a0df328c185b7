"""The SQL door on a database of the module's own, and on one of the test's own."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from databases import a_database
from psycopg import Connection
from sql_door import SqlDoor


@pytest.fixture(scope="module")
def shared_door() -> Iterator[SqlDoor]:
    """A door that tests share: each keeps to runs of its own, and changes neither settings nor the clock."""
    with a_database() as url, psycopg.connect(url, autocommit=True) as conn:
        _add_node(conn)
        yield SqlDoor(conn)


@pytest.fixture
def door(database_url: str) -> Iterator[SqlDoor]:
    """A door of the test's own; the node `node-1` offers `simulate` and `docker`."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        _add_node(conn)
        yield SqlDoor(conn)


def _add_node(conn: Connection[Any]) -> None:
    # Seen long ahead, so that it is not silent however far a test sets the clock.
    conn.execute("INSERT INTO node VALUES ('node-1', '{simulate,docker}', now() + interval '20 years')")

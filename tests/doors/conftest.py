"""The SQL door on a database of the module's own, and on one of the test's own."""

from collections.abc import Iterator

import psycopg
import pytest
from databases import a_database
from sql_door import SqlDoor


@pytest.fixture(scope="module")
def shared_door() -> Iterator[SqlDoor]:
    """A door that tests share: each keeps to runs of its own, and changes no setting."""
    with a_database() as url, psycopg.connect(url, autocommit=True) as conn:
        yield SqlDoor(conn)


@pytest.fixture
def door(database_url: str) -> Iterator[SqlDoor]:
    """A door of the test's own; the node `node-1` offers every engine."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO node VALUES ('node-1', '{simulate,process,docker,cri}', now())")
        yield SqlDoor(conn)

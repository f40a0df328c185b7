"""The queues of a test, the SQL door beside them, and a node that is never silent."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from letterbox import Letterbox
from psycopg import Connection
from sql_door import SqlDoor

from shared.broker import Keys
from shared.connections import Connections
from shared.db.pool import connect
from shared.settings import Settings


@pytest.fixture
def letterbox(connections: Connections, keys: Keys) -> Letterbox:
    """The queues of the test."""
    return Letterbox(connections.redis, keys)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection[Any]]:
    """A worker's own connection."""
    with connect(settings, name="test") as one:
        yield one


@pytest.fixture
def door(connections: Connections, database_url: str) -> Iterator[SqlDoor]:
    """An upstream's own connection; the node `node-1` offers `simulate`, however far a test sets the clock."""
    _ = connections  # publishes the test's settings
    with psycopg.connect(database_url, autocommit=True) as one:
        one.execute("INSERT INTO node VALUES ('node-1', '{simulate}', now() + interval '20 years')")
        yield SqlDoor(one)

"""The doors of the contract on a test's own servers."""

from collections.abc import Iterator

import psycopg
import pytest
from message_door import MessageDoor
from sql_door import SqlDoor

from shared.connections import Connections
from shared.settings import Settings


@pytest.fixture
def message_door(connections: Connections) -> MessageDoor:
    """The queues, handled at once."""
    return MessageDoor(connections)


@pytest.fixture
def sql_door(settings: Settings) -> Iterator[SqlDoor]:
    """A connection of an upstream's own."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as conn:
        yield SqlDoor(conn)

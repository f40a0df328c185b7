"""What Postgres says to a worker that was stopped, or whose connection was ended, is no word about the message."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from pydantic import SecretStr
from waiting import wait_until

from shared.db.moment import is_of_the_moment
from shared.db.pool import connect
from shared.settings import Settings
from tests.faults.losing_proxy import LosingProxy


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection[Any]]:
    """A worker's connection."""
    with connect(settings, name="test") as one:
        yield one


def stand_still_in_a_transaction(conn: Connection[Any], settings: Settings) -> None:
    """Begin a transaction, and go on with it when the server has ended the connection."""
    query = "SELECT FROM pg_stat_activity WHERE pid = %s"
    pid = conn.info.backend_pid
    with conn.transaction(), psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as other:
        wait_until(lambda: other.execute(query, [pid]).fetchone() is None)
        conn.execute("SELECT 1")


def test_a_worker_that_stood_still_in_a_transaction_tries_again(conn: Connection[Any], settings: Settings) -> None:
    """Postgres ends a transaction that idles too long; when the worker runs again, that is no fault of the data."""
    conn.execute("SET idle_in_transaction_session_timeout = '20ms'")

    with pytest.raises(psycopg.Error) as caught:
        stand_still_in_a_transaction(conn, settings)

    assert is_of_the_moment(caught.value)
    assert conn.closed


def test_a_worker_whose_connection_was_terminated_tries_again(conn: Connection[Any], settings: Settings) -> None:
    """An administrator, or a failover, ends a connection."""
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])

    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT 1")

    assert is_of_the_moment(caught.value)


def test_what_is_wrong_with_a_message_is_not_of_the_moment(conn: Connection[Any]) -> None:
    """A value that Postgres cannot take will not be taken later either."""
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("SELECT '{'::jsonb")

    assert not is_of_the_moment(caught.value)


def test_an_answer_that_never_comes_ends_the_connection(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy that swallows everything the kernel sees nothing wrong; the worker connects again."""
    monkeypatch.setattr("shared.db.pool.ANSWER_SECONDS", 0.2)
    way = LosingProxy(settings.database_url.get_secret_value())
    with connect(settings.model_copy(update={"database_url": SecretStr(way.url)}), name="test") as conn:
        way.fall_silent()

        with pytest.raises(psycopg.Error) as caught:
            conn.execute("SELECT 1")

    way.close()
    assert is_of_the_moment(caught.value)
    assert conn.closed

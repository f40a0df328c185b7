"""The settings that rules in SQL need: the same defaults on both sides, and each process publishes its own."""

from typing import Any

import psycopg

from shared.db.settings import publish
from shared.settings import Settings


def test_the_defaults_of_the_migrations_are_those_of_python(database_url: str) -> None:
    """A database that no worker has met yet judges like one that has."""
    with psycopg.connect(database_url) as conn:
        in_sql: dict[str, Any] = dict(conn.execute("SELECT name, value FROM setting").fetchall())

    assert in_sql == Settings().model_dump(include=set(in_sql))


def test_a_process_publishes_what_it_was_given(database_url: str) -> None:
    """What differs is written once; the rules in SQL then judge by it."""
    ours = Settings.model_validate({"delay_task_ms": 1, "key_delays": {"slow": 2}})

    with psycopg.connect(database_url) as conn:
        assert publish(conn, ours) == 2
        assert publish(conn, ours) == 0
        [(known,)] = conn.execute("SELECT settings()").fetchall()

    assert (known["delay_task_ms"], known["key_delays"]) == (1, {"slow": 2})

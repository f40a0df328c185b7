"""Migrations: forward only, each once, by one migrator at a time, never edited; the schema as it stands beside them."""

from collections.abc import Iterator

import psycopg
import pytest
from at_once import at_once
from databases import a_database
from schema import FILE, rendered

from shared.db import migrate as module
from shared.db.migrate import Migration, migrate, migrations, pending, require_schema
from shared.errors import SchemaMismatch


@pytest.fixture
def empty() -> Iterator[str]:
    """A database that has nothing of ours yet."""
    with a_database(template=None) as url:
        yield url


def test_migrations_are_numbered_without_a_gap() -> None:
    """Their order is beyond doubt."""
    assert [one.number for one in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_second_time_changes_nothing(empty: str) -> None:
    """From nothing all are applied, in order; after that none."""
    with psycopg.connect(empty) as conn:
        assert pending(conn) == list(migrations())

    assert migrate(empty) == list(migrations())

    assert migrate(empty) == []
    with psycopg.connect(empty) as conn:
        assert pending(conn) == []
        require_schema(conn)


def test_of_two_migrators_at_once_one_does_the_work(empty: str) -> None:
    """The other waits and finds nothing left to do."""
    applied = at_once(lambda: migrate(empty), lambda: migrate(empty))

    assert sorted(applied, key=len) == [[], list(migrations())]


def test_a_worker_refuses_to_start_on_a_schema_that_lacks_something(empty: str) -> None:
    """It says what is missing and which command brings it."""
    with (
        psycopg.connect(empty) as conn,
        pytest.raises(SchemaMismatch, match="Run `checkpoints migrate`") as refused,
    ):
        require_schema(conn)

    assert refused.value.facts["missing"] == [one.name for one in migrations()]


def test_an_edited_migration_is_refused(database_url: str) -> None:
    """A file that differs from what was applied is named, and nothing is done."""
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE schema_migration SET checksum = 'another' WHERE number = 2")

    with pytest.raises(SchemaMismatch, match="0002_dependency was applied with another text") as refused:
        migrate(database_url)

    assert refused.value.facts == {"number": 2}


def test_a_later_release_may_have_migrated_first(database_url: str) -> None:
    """What this release does not know was added for those that do: its workers go on."""
    with psycopg.connect(database_url) as conn:
        conn.execute("INSERT INTO schema_migration (number, name, checksum) VALUES (9999, '9999_later', 'c')")

    assert migrate(database_url) == []


def test_a_migration_that_fails_leaves_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction is undone, those before it stay, and it is tried again the next time."""
    good = Migration(9001, "9001_good", "CREATE TABLE good (id integer)")
    bad = Migration(9002, "9002_bad", "CREATE TABLE half (id integer); SELECT 1 / 0")
    monkeypatch.setattr(module, "migrations", lambda: (*migrations(), good, bad))

    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(database_url)

    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT to_regclass('good'), to_regclass('half')").fetchone() == ("good", None)
        assert module.pending(conn) == [bad]


def test_the_schema_file_is_what_the_migrations_make(database_url: str) -> None:
    """`shared/sql/schema.sql` can be read instead of all migrations. After a change: `make schema`."""
    assert FILE.read_text(encoding="utf-8") == rendered(database_url)

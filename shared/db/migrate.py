"""Forward-only, numbered migrations: each in its own transaction, its checksum recorded; one migrator at once."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, LiteralString, cast

import psycopg
from psycopg import Connection

from shared.db.statements import statement
from shared.errors import SchemaMismatch


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of `sql/migrations`."""

    number: int
    name: str
    text: LiteralString

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text: an edited file is found before it does harm."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all migrations that this release ships, in order."""
    folder = files("shared").joinpath("sql", "migrations")
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(
        Migration(
            number=int(name.partition("_")[0]),
            name=name.removesuffix(".sql"),
            text=cast("LiteralString", folder.joinpath(name).read_text(encoding="utf-8")),
        )
        for name in found
    )


def migrate(database_url: str) -> list[Migration]:
    """Bring the database to this release's schema; return what was applied.

    Raises:
        SchemaMismatch: A migration that was applied has another text now, or is not known to this release.
        psycopg.Error: The database cannot be reached, or a migration failed (its transaction is undone).
    """
    with psycopg.connect(database_url, autocommit=True, application_name="checkpoints migrate") as conn:
        conn.execute(statement("migration/lock"))
        conn.execute(statement("migration/table"))
        missing = pending(conn)
        for migration in missing:
            with conn.transaction():
                conn.execute(migration.text, prepare=False)
                conn.execute(
                    statement("migration/record"),
                    {"number": migration.number, "name": migration.name, "checksum": migration.checksum},
                )
        return missing


def pending(conn: Connection[Any]) -> list[Migration]:
    """Return the migrations that the database lacks.

    Raises:
        SchemaMismatch: The database's history is not a beginning of this release's.
    """
    applied = _applied(conn)
    ours = {migration.number: migration for migration in migrations()}
    for number, (name, checksum) in applied.items():
        known = ours.get(number)
        if known is None:
            continue  # a later release migrated first: its workers and ours run on the new schema
        if known.checksum != checksum:
            raise SchemaMismatch(
                f"migration {name} was applied with another text than {known.name} has now; expected the "
                "same. Restore the released file, and put the change into a new migration.",
                number=number,
            )
    return [migration for migration in migrations() if migration.number not in applied]


def require_schema(conn: Connection[Any]) -> None:
    """Refuse to start on a schema that this release cannot work with.

    Raises:
        SchemaMismatch: The database has no schema of ours, or lacks some of its migrations.
    """
    missing = pending(conn)
    if missing:
        raise SchemaMismatch(
            f"the database lacks {len(missing)} migrations up to {missing[-1].name}; expected all that this "
            "release ships. Run `checkpoints migrate` before starting workers.",
            missing=[migration.name for migration in missing],
        )


def _applied(conn: Connection[Any]) -> dict[int, tuple[str, str]]:
    if not conn.execute(statement("migration/is_there")).fetchone():
        return {}
    rows = conn.execute(statement("migration/applied")).fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}

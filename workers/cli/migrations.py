"""`checkpoints migrate`: the schema, for people and for deploy gates."""

import psycopg
import typer

from shared.db.migrate import migrate, migrations, pending
from shared.errors import Unreachable
from workers.cli.target import target_settings

DONE, MISSING = 0, 1


def run_migrate(*, is_check: bool, prints_sql: bool) -> int:
    """Bring the database to this release's schema, or say what is missing; return the exit code.

    Raises:
        Unreachable: Postgres does not answer.
        SchemaMismatch: The database's history is not a beginning of this release's.
    """
    if prints_sql:
        for one in migrations():
            typer.echo(f"-- {one.name}\nBEGIN;\n{one.text}\nCOMMIT;\n")
        return DONE
    url = target_settings().database_url.get_secret_value()
    try:
        if is_check:
            with psycopg.connect(url) as conn:
                missing = pending(conn)
            typer.echo("\n".join(f"missing: {one.name}" for one in missing) or "the schema is up to date")
            return MISSING if missing else DONE
        applied = migrate(url)
    except psycopg.OperationalError as error:
        raise Unreachable(f"Postgres cannot be used: {str(error).strip()}. Check CHECKPOINT_DATABASE_URL.") from error
    typer.echo("\n".join(f"applied: {one.name}" for one in applied) or "the schema is up to date")
    return DONE

"""What a starter asks of Postgres before it calls everything ready."""

import psycopg

from shared.db.migrate import migrate
from shared.db.statements import statement
from shared.errors import Misconfigured, Unreachable


def make_ready(database_url: str) -> None:
    """Bring the database to this release's schema.

    Raises:
        Unreachable: Postgres does not answer there.
        Misconfigured: The URL cannot be read.
        SchemaMismatch: It has a history that this release does not know.
    """
    try:
        migrate(database_url)
    except psycopg.ProgrammingError as error:
        if error.sqlstate is not None:
            raise
        # libpq could not read the address; its message may repeat the password.
        raise Misconfigured(
            "CHECKPOINT_DATABASE_URL is no address of a Postgres; expected "
            "postgresql://user:password@host:port/database, with special characters as %XX."
        ) from None
    except psycopg.OperationalError as error:
        raise Unreachable(f"Postgres cannot be used: {str(error).strip()}. Check CHECKPOINT_DATABASE_URL.") from error


def node_was_seen(database_url: str, *, node: str, seconds: float) -> bool:
    """Return whether the node's agent has reported within the last `seconds`."""
    return engines_seen(database_url, node=node, seconds=seconds) is not None


def engines_seen(database_url: str, *, node: str, seconds: float) -> list[str] | None:
    """Return the engines that a node offers; None: its agent has not reported within the last `seconds`."""
    try:
        with psycopg.connect(database_url, application_name="checkpoints up") as conn:
            row = conn.execute(statement("node/seen_since"), {"name": node, "seconds": seconds}).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None

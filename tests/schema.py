"""The schema as it stands, made from the migrations, for reading: `make schema` writes it, a test compares it."""

import re
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from servers import start_servers

from shared.db.migrate import migrate
from workers.cli.postgres_server import programs

FILE: Final = Path(str(files("shared").joinpath("sql", "schema.sql")))
HEAD: Final = (
    "-- The whole schema as it stands, made from the migrations by `make schema`. For reading: nothing runs it.\n"
)
# Of the dump's own: its comments, its session's settings, and a key that differs each time.
_NOISE: Final = re.compile(r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*;|\\(un)?restrict .*)$", re.MULTILINE)
_GAPS: Final = re.compile(r"\n{3,}")


def rendered(database_url: str) -> str:
    """Return the schema of a migrated database as SQL, the same each time."""
    dump = subprocess.run(
        [str(programs() / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges", f"--dbname={database_url}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    text = _GAPS.sub("\n\n", _NOISE.sub("", dump)).strip()
    return f"{HEAD}\n{text}\n".replace("public.", "")


def main() -> None:
    """Write the schema."""
    with tempfile.TemporaryDirectory() as folder:
        servers = start_servers(Path(folder))
        try:
            migrate(servers.database_url)
            FILE.write_text(rendered(servers.database_url), encoding="utf-8")
        finally:
            servers.stop()


if __name__ == "__main__":
    main()

"""The settings that rules in SQL need, published by every process at its start."""

from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from shared.db.statements import statement
from shared.settings import Settings


def publish(conn: Connection[Any], settings: Settings) -> int:
    """Write this process's settings for the rules in SQL; return how many had another value before."""
    names = [name for (name,) in conn.execute(statement("setting/names"))]
    ours = settings.model_dump(include=set(names))
    return conn.execute(statement("setting/publish"), {"settings": Jsonb(ours)}).rowcount

"""What the rows say of a demo's runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from shared.db.statements import statement


@dataclass(frozen=True, slots=True)
class Waits:
    """What became of the waits of some runs, in numbers."""

    waits: int = 0
    pending: int = 0
    called_off: int = 0
    not_planned: int = 0
    frozen: int = 0
    frozen_now: int = 0
    refused: int = 0
    failed: int = 0
    restored: int = 0
    slot_seconds: float = 0.0
    image_bytes: int = 0
    dump_bytes: int = 0
    left_to_do: int = 0


def count_waits(conn: Connection[Any], run_ids: Sequence[str]) -> Waits:
    """Count the waits of these runs by what became of them."""
    with conn.cursor(row_factory=class_row(Waits)) as cur:
        return cur.execute(statement("demo/waits"), {"run_ids": list(run_ids)}).fetchone() or Waits()

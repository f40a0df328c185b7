"""The SQL door as an upstream in any language uses it: JSON in, JSON or an error with its own SQLSTATE out."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, LiteralString

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import DictRow, dict_row

from shared.db import checkpoints, dependencies
from shared.db.statements import only

Door = Literal["defer", "complete", "cancel"]

ONE: dict[Door, LiteralString] = {
    "defer": "SELECT defer_checkpoint(%s::jsonb)",
    "complete": "SELECT complete_dependency(%s::jsonb)",
    "cancel": "SELECT cancel_checkpoint(%s::jsonb)",
}
MANY: dict[Door, LiteralString] = {
    "defer": "SELECT defer_checkpoint_many(%s::jsonb)",
    "complete": "SELECT complete_dependency_many(%s::jsonb)",
    "cancel": "SELECT cancel_checkpoint_many(%s::jsonb)",
}


class SqlDoor:
    """An upstream's own connection.

    Args:
        conn: In autocommit, unless a test holds a transaction open.
    """

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn = conn

    def call(self, door: Door, message: dict[str, Any] | str) -> dict[str, Any]:
        """Call a function of the door with one message."""
        text = message if isinstance(message, str) else json.dumps(message)
        return only(self.conn.execute(ONE[door], [text]).fetchone())

    def defer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Register a wait."""
        return self.call("defer", message)

    def complete(self, dependency_id: str, outcome: object = None, outcome_type: str = "success") -> dict[str, Any]:
        """Complete a dependency."""
        message = {"v": 1, "dependency_id": dependency_id, "outcome": outcome, "outcome_type": outcome_type}
        return self.call("complete", message)

    def cancel(self, run_id: str, type_: str, **fields: Any) -> dict[str, Any]:
        """Call off, for one of the contract's reasons."""
        return self.call("cancel", {"v": 1, "run_id": run_id, "reason": {"type": type_}} | fields)

    def resume(self, dependency_id: str, outcome: object = None) -> None:
        """Complete a dependency and resume its wait, as the resume worker does on a hint."""
        self.complete(dependency_id, outcome)
        assert dependencies.resume(self.conn, [dependency_id]) == [dependency_id]

    def freeze(self, wait: dict[str, Any]) -> int:
        """Take the checkpoint of a due wait, as far as Postgres knows; return its id."""
        claim = checkpoints.claim(
            self.conn, wait["dependency"]["id"], run_id=wait["run_id"], node="node-1", grace=timedelta(seconds=5)
        )
        assert claim is not None
        assert checkpoints.offer(
            self.conn,
            claim,
            location=f"simulate:{claim.id}-{claim.epoch}",
            digest=None,
            image_bytes=0,
            is_portable=False,
            phases={},
            grace=timedelta(seconds=5),
        )
        return claim.id

    def checkpoint(self, checkpoint_id: int) -> DictRow:
        """Return a checkpoint as it stands."""
        with self.conn.cursor(row_factory=dict_row) as cur:
            row = cur.execute("SELECT * FROM checkpoint WHERE id = %s", [checkpoint_id]).fetchone()
        assert row is not None, f"no checkpoint {checkpoint_id}"
        return row

    def many(self, door: Door, messages: Sequence[str]) -> list[dict[str, Any]]:
        """Call a function of the door with many messages."""
        return only(self.conn.execute(MANY[door], [f"[{','.join(messages)}]"]).fetchone())

    def refusal(self, door: Door, message: dict[str, Any] | str) -> dict[str, Any]:
        """Call a function of the door and return how it refused: the code, the problem, the facts.

        Raises:
            AssertionError: It did not, or its SQLSTATE is not that of its code.
        """
        with pytest.raises(psycopg.Error) as raised:
            self.call(door, message)
        said = raised.value.diag
        query = "SELECT code FROM refusal_code WHERE sqlstate = %s"
        [(code,)] = self.conn.execute(query, [raised.value.sqlstate]).fetchall()
        assert said.message_hint == code
        return {"code": code, "problem": said.message_primary, "facts": json.loads(said.message_detail or "{}")}

    def sqlstate(self, door: Door, text: str) -> str | None:
        """Call a function of the door with what Postgres itself refuses, and return its SQLSTATE."""
        try:
            self.call(door, text)
        except psycopg.Error as error:
            return error.sqlstate
        return None

    def row(self, dependency_id: str) -> DictRow:
        """Return a dependency as it stands."""
        with self.conn.cursor(row_factory=dict_row) as cur:
            row = cur.execute("SELECT * FROM dependency WHERE id = %s", [dependency_id]).fetchone()
        assert row is not None, f"no dependency {dependency_id}"
        return row

    def counts(self) -> tuple[int, ...]:
        """Return how many rows the tables have that a message could write to."""
        row = self.conn.execute(
            "SELECT (SELECT count(*) FROM dependency), (SELECT count(*) FROM checkpoint), "
            "(SELECT count(*) FROM run_mark), (SELECT count(*) FROM dependency WHERE completed_at IS NOT NULL)"
        ).fetchone()
        assert row is not None
        return row

    def set_clock(self, ahead: timedelta) -> None:
        """Have the clock of this connection stand at a moment from now."""
        self.conn.execute("SELECT set_config('checkpoint.clock', (now() + %s)::text, false)", [ahead])

    def set_setting(self, **settings: object) -> None:
        """Give settings other values, as another process would have published them."""
        for name, value in settings.items():
            self.conn.execute("UPDATE setting SET value = %s::jsonb WHERE name = %s", [json.dumps(value), name])

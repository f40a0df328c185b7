"""The SQL door for a caller's own transaction, and what the process that goes on says of its continuation."""

from collections.abc import Iterable
from typing import Any, Literal, LiteralString

import msgspec
from psycopg import Connection

from shared.db.deferrals import Refusal
from shared.db.raw_json import array
from shared.db.statements import only, statement

_DOORS: dict[str, LiteralString] = {"defer": "door/defer", "cancel": "door/cancel", "complete": "door/complete"}
_answers = msgspec.json.Decoder(list[dict[str, Any]])


def call(
    conn: Connection[Any], door: Literal["defer", "cancel", "complete"], bodies: Iterable[bytes]
) -> list[dict[str, Any] | Refusal]:
    """Call a function of the SQL door for many messages; one answer or refusal for each, in their order."""
    row = conn.execute(statement(_DOORS[door]), {"messages": array(bodies)}).fetchone()
    return [
        msgspec.convert(answer["refused"], Refusal) if "refused" in answer else answer
        for answer in _answers.decode(only(row))
    ]


def finish_continuation(conn: Connection[Any], continuation_id: str) -> bool:
    """End a continuation; True once."""
    return only(conn.execute(statement("door/finish"), {"id": continuation_id}).fetchone())


def claim_continuation(conn: Connection[Any], continuation_id: str) -> bool:
    """Claim a continuation for a while; it thins out repeats, and decides nothing."""
    return only(conn.execute(statement("door/claim"), {"id": continuation_id}).fetchone())

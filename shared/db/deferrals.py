"""What upstreams say of a run's waits: registrations, cancels, answers of runs that were asked; judged in SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from psycopg import Connection

from shared.db.raw_json import array
from shared.db.statements import only, statement

Kind = Literal["defer", "cancel", "ready"]


@dataclass(frozen=True, slots=True)
class Deferral:
    """A message that was checked: its kind and its JSON."""

    kind: Kind
    body: bytes


class DeferAnswer(msgspec.Struct, frozen=True):
    """The answer to `defer`. Source: the contract, section 3."""

    dependency_id: str
    wait_number: int
    duplicate: bool
    complete: bool
    will_checkpoint: bool
    why: str | None
    delay_ms: int
    delay_from: str
    due_at: datetime | None


class CancelAnswer(msgspec.Struct, frozen=True):
    """The answer to `cancel`: each true once."""

    called_off: bool
    wait_ended: bool


class ReadyAnswer(msgspec.Struct, frozen=True):
    """The answer to `ready`: true once; false where nobody asked, the time is over, or the wait is."""

    will_checkpoint: bool


class Refusal(msgspec.Struct, frozen=True):
    """A rule said no: nothing was changed."""

    code: str
    problem: str
    facts: dict[str, Any]


class Revocation(msgspec.Struct, frozen=True):
    """A token to raise: the checkpoints of the run's waits up to this number are revoked."""

    run_id: str
    wait_number: int
    reason: str


class DueTake(msgspec.Struct, frozen=True):
    """A take to send at once: the run has answered."""

    dependency_id: str
    node: str
    traceparent: str | None


class Result(msgspec.Struct, frozen=True):
    """What became of one message: a refusal, or an answer with the token or the take that it calls for."""

    answer: dict[str, Any] | None = None
    token: Revocation | None = None
    take: DueTake | None = None
    refused: Refusal | None = None

    def defer_answer(self) -> DeferAnswer:
        """Return the answer of a registration."""
        return msgspec.convert(self.answer, DeferAnswer)


_results = msgspec.json.Decoder(list[Result])


def apply(conn: Connection[Any], deferrals: Sequence[Deferral]) -> list[Result]:
    """Apply checked messages in their order, in the caller's transaction; one result for each."""
    row = conn.execute(
        statement("deferral/apply"),
        {"kinds": [one.kind for one in deferrals], "messages": array(one.body for one in deferrals)},
    ).fetchone()
    return _results.decode(only(row))

"""What a call of the client answers: by Postgres' word, as a value or a refusal of its own."""

from typing import Any, TypeVar

import msgspec

from shared.db.deferrals import Refusal
from shared.errors import Refused

A = TypeVar("A")


def answer_or_refusal(answer: Any, type_: type[A]) -> A | Refused:
    """Return what Postgres answered to one of many messages, as the type that is public."""
    if isinstance(answer, Refusal):
        return Refused(answer.problem, code=answer.code, **answer.facts)
    return msgspec.convert(answer, type_, from_attributes=True)


def single(answers: list[A | Refused] | None) -> A | None:
    """Return the only answer; None: nobody can know it yet.

    Raises:
        Refused: It is a refusal.
    """
    if answers is None:
        return None
    (answer,) = answers
    if isinstance(answer, Refused):
        raise answer
    return answer

"""What an outcome may hold: any JSON that Postgres, and every language on the way, takes back as it came.

Source: the contract, section 1; the SQL door draws the same lines (check_complete).
"""

import json
import math
import re
from typing import Any, Final, NoReturn, cast

import msgspec

from shared.errors import Refused
from shared.messages import DEPTH_MAX, OUTCOME_BYTES_MAX

# A number that may be beyond a double, or finer than Postgres' numeric; anything shorter is neither.
_UNUSUAL: Final = re.compile(rb"\d{300}|[eE]-\d{4}")
_SCALE_MAX: Final = 16_383  # digits behind the point that Postgres keeps
_EXPONENT_DIGITS_MAX: Final = 6


def outcome_problem(outcome: object, body: bytes) -> tuple[str, str] | None:
    """Return what is wrong with an outcome, and what was expected; None: it is sound.

    Args:
        outcome: Decoded.
        body: The message that it came in, where its numbers still have all of their digits.

    Raises:
        Refused: It is too large.
    """
    # First: what follows goes down into it.
    if _depth(outcome, DEPTH_MAX) > DEPTH_MAX - 1:
        return "JSON nested deeper", f"JSON at most {DEPTH_MAX - 1} levels deep"
    _refuse_large(outcome)
    if _UNUSUAL.search(body) and not _has_usual_numbers(body):
        return "a number out of range", "numbers that a double can hold, with at most 16,383 digits behind the point"
    return None


def _refuse_large(outcome: object) -> None:
    size = len(msgspec.json.encode(outcome))
    if size > OUTCOME_BYTES_MAX // 2:
        # As Postgres writes it, with a space behind each comma and colon, so that both doors draw one line.
        size = len(json.dumps(outcome, ensure_ascii=False).encode())
    if size > OUTCOME_BYTES_MAX:
        raise Refused(
            f"outcome is {size} bytes; expected at most {OUTCOME_BYTES_MAX}. Send a reference instead.",
            code="too-large",
            field="outcome",
        )


def _depth(value: Any, limit: int) -> int:
    """Return how many containers are nested in each other, counted no further than the limit."""
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inside = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
    return 1 + max((_depth(one, limit - 1) for one in inside), default=0)


def _has_usual_numbers(body: bytes) -> bool:
    def read(text: str) -> float:
        mantissa, _, exponent = text.lower().partition("e")
        if len(exponent) > _EXPONENT_DIGITS_MAX:
            unusual()
        scale = len(mantissa.partition(".")[2]) - int(exponent or 0)
        if scale > _SCALE_MAX or math.isinf(float(text)):
            unusual()
        return 0.0

    def unusual() -> NoReturn:
        raise OverflowError

    try:
        json.loads(body, parse_float=read, parse_int=read)
    except OverflowError:
        return False
    return True

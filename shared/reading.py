"""Reading a message at the door: decoded by its type, or refused by name, with the field and what to do.

Everything that one message alone can be judged by is judged here; nothing was written yet. Source: the contract.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, TypeVar, cast

import msgspec

from shared.errors import Refused
from shared.messages import BYTES_MAX, DEPTH_MAX, OUTCOME_BYTES_MAX, Cancel, Complete, Defer, Id, Message
from shared.vocabulary import CancelReason, WaitReason

M = TypeVar("M", bound=Message)

HORIZON: Final = timedelta(days=3653)  # 10 years
_ENDS_AT_A_TIME: Final = frozenset({WaitReason.DURATION, WaitReason.RETRY, WaitReason.MANUAL})
_NEEDS_A_TIME: Final = frozenset({WaitReason.DURATION, WaitReason.RETRY})
_FIELD: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING: Final = re.compile(r"missing required field `(?P<field>[^`]*)`")


def read(body: bytes, type_: type[M]) -> M:
    """Decode and check one message's JSON.

    Raises:
        Refused: It breaks a rule; `code`, the message and `facts` (with `field`) are the contract's.
    """
    if len(body) > BYTES_MAX:
        raise Refused(
            f"the message is {len(body)} bytes; expected at most {BYTES_MAX}. Send a reference instead.",
            code="too-large",
            field="",
        )
    try:
        message = msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        _refuse(body, str(error))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Refused(f"the message is no JSON ({error}); expected a JSON object. Encode it as JSON.") from None
    match message:
        case Defer():
            _check_defer(message)
        case Complete():
            _check_complete(message)
        case Cancel():
            _check_cancel(message)
        case _:
            pass
    return message


def is_id(value: object) -> bool:
    """Return whether a value could be the id of a run or a dependency."""
    try:
        msgspec.convert(value, Id)
    except msgspec.ValidationError:
        return False
    return True


def _check_defer(m: Defer) -> None:
    dependency = m.dependency
    if dependency.id == m.run_id:
        raise Refused(
            f"dependency.id is the run's own id {m.run_id}; expected the id of what it waits for. "
            "Name the wait, for example child and attempt.",
            code="waits-for-itself",
            field="dependency.id",
        )
    is_batch = m.reason is WaitReason.BATCH
    if is_batch != (dependency.items is not None) or (dependency.sealed is not None and not is_batch):
        _bad("dependency.items", dependency.items, "an array of ids with WAIT_FOR_BATCH, and none without")
    if dependency.items and len(set(dependency.items)) < len(dependency.items):
        _bad("dependency.items", "an id twice", "distinct ids")
    if dependency.resume_at is None:
        if m.reason in _NEEDS_A_TIME:
            _bad("dependency.resume_at", None, "a time with a zone (RFC 3339)")
    elif m.reason not in _ENDS_AT_A_TIME:
        _bad("dependency.resume_at", dependency.resume_at, "none, since this wait does not end at a time")
    elif dependency.resume_at > datetime.now(UTC) + HORIZON:
        _bad("dependency.resume_at", dependency.resume_at, "a time at most 10 years ahead")


def _check_complete(m: Complete) -> None:
    if m.item_id is not None or m.items_added is not None or m.sealed is not None:
        _bad("item_id", m.item_id, "none: this release has no batches yet")
    if m.outcome is None:
        return
    size = len(msgspec.json.encode(m.outcome))
    if size > OUTCOME_BYTES_MAX:
        raise Refused(
            f"outcome is {size} bytes; expected at most {OUTCOME_BYTES_MAX}. Send a reference instead.",
            code="too-large",
            field="outcome",
        )
    if _depth(m.outcome, DEPTH_MAX) > DEPTH_MAX - 1:
        _bad("outcome", "JSON nested deeper", f"JSON at most {DEPTH_MAX - 1} levels deep")


def _check_cancel(m: Cancel) -> None:
    match m.reason.type:
        case CancelReason.ATTEMPT_OVER:
            if m.attempt is None:
                _bad("attempt", None, "the number of the attempt that is over")
            if m.wait_number is not None:
                _bad("wait_number", m.wait_number, "none, since ATTEMPT_OVER names an attempt")
        case CancelReason.MANUAL | CancelReason.WORKLOAD_DISCONNECTED:
            if m.wait_number is None:
                _bad("wait_number", None, "the number of the wait whose checkpoint is called off")
        case _:
            pass


def _depth(value: Any, limit: int) -> int:
    """Return how many containers are nested in each other, counted no further than the limit."""
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inside = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
    return 1 + max((_depth(one, limit - 1) for one in inside), default=0)


def _bad(field: str, got: object, expected: str) -> NoReturn:
    shown = "missing" if got is None else str(got)[:80]
    raise Refused(
        f"{field} is {shown}; expected {expected}. Correct the message and send it again.",
        field=field,
        expected=expected,
    )


def _refuse(body: bytes, problem: str) -> NoReturn:
    """Name what the decoder found; the version first, since another version has other fields."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        whole = None
    if isinstance(whole, dict) and cast("dict[str, Any]", whole).get("v") != 1:
        shown = cast("dict[str, Any]", whole).get("v", "missing")
        raise Refused(
            f"v is {shown}; expected 1. Send version 1 of this message.",
            code="unsupported-version",
            field="v",
        )
    at = _FIELD.search(problem)
    path = at["path"] if at else ""
    named = _UNKNOWN.search(problem) or _MISSING.search(problem)
    field = ".".join(part for part in (path, named["field"] if named else "") if part)
    text = _FIELD.sub("", problem)
    raise Refused(
        f"{field or 'the message'}: {text}. Correct the message and send it again.",
        code="unknown-field" if _UNKNOWN.search(problem) else "invalid-message",
        field=field,
    )

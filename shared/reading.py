"""Reading a message at the door: decoded by its type, or refused by name, with the field and what to do.

Everything that one message alone can be judged by is judged here; nothing was written yet. Source: the contract.
"""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, TypeVar, cast

import msgspec

from shared.errors import Refused
from shared.messages import (
    BYTES_MAX,
    INTEGER_MAX,
    Cancel,
    Complete,
    Defer,
    Id,
    Message,
)
from shared.outcomes import outcome_problem
from shared.vocabulary import CancelReason, EngineName, OutcomeType, WaitReason

M = TypeVar("M", bound=Message)

HORIZON: Final = timedelta(days=3653)  # 10 years
_ENDS_AT_A_TIME: Final = frozenset({WaitReason.DURATION, WaitReason.RETRY, WaitReason.MANUAL})
_NEEDS_A_TIME: Final = frozenset({WaitReason.DURATION, WaitReason.RETRY})
_OFFSET_MAX: Final = timedelta(hours=16)  # Postgres knows none from here on
_FIELD: Final = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_INDEX: Final = re.compile(r"\[[^\]]*\]")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING: Final = re.compile(r"missing required field `(?P<field>[^`]*)`")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The escape itself, not one whose backslash is escaped.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_NAME_CHARACTERS: Final = 80  # of a name that we did not give

_ID: Final = "text of 1 to 200 characters and at most 800 bytes, not blank, without control characters"
_COUNT: Final = f"an integer from 1 to {INTEGER_MAX}"
_BOOLEAN: Final = "true or false"
_REPLY_QUEUE: Final = "continuations, or continuations. and 1 to 64 of a-z, 0-9, _ and -"
_WAIT_REASONS: Final = f"one of {', '.join(WaitReason)}"
_CANCEL_REASONS: Final = f"one of {', '.join(CancelReason)}"
# What the types ask for, in words: the decoder says it with regular expressions. The same words as in migration 0006.
_EXPECTED: Final = {
    "": "an object",
    "run_id": _ID,
    "attempt": _COUNT,
    "wait_number": _COUNT,
    "dependency": "an object",
    "dependency.id": _ID,
    "dependency.items": f"an array of at most 10,000 distinct ids, each {_ID}",
    "dependency.sealed": _BOOLEAN,
    "dependency.resume_at": "a time with a zone (RFC 3339), at most 10 years ahead",
    "workload": "an object with either pid with started_at_ticks, or container",
    "workload.engine": f"one of {', '.join(EngineName)}",
    "workload.node": "text of 1 to 63 of a-z, 0-9 and -, with no - first",
    "workload.pid": _COUNT,
    "workload.started_at_ticks": "an integer from 0 to 999999999999999999",
    "workload.container": "text of 1 to 128 of letters, digits, _, . and -, with a letter or digit first",
    "delay_ms": "an integer from 0 to 172800000",
    "key": _ID,
    "handshake": _BOOLEAN,
    "reply_to": _REPLY_QUEUE,
    "receipt_to": _REPLY_QUEUE,
    "traceparent": "a traceparent of W3C trace context, level 1",
    "reason.type": _CANCEL_REASONS,
    "reason.detail": "text of at most 1,000 characters",
    "dependency_id": _ID,
    "continuation_id": _ID,
    "item_id": _ID,
    "items_added": f"an array of ids, each {_ID}",
    "sealed": _BOOLEAN,
    "outcome_type": f"one of {', '.join(OutcomeType)}",
}


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
        _refuse(body, type_, str(error))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Refused(
            f"the message is no JSON ({error}); expected a JSON object. Encode it as JSON.", field=""
        ) from None
    # In the text: a value that another of the same name has replaced comes to Postgres all the same.
    if _NUL.search(body):
        field = "outcome" if type_ is Complete else "reason.detail" if type_ is Cancel else ""
        _refuse_field(field, "text with \\u0000", "text without \\u0000, which Postgres cannot hold")
    match message:
        case Defer():
            _check_defer(message)
        case Complete():
            _check_complete(message, body)
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
    elif dependency.resume_at > datetime.now(UTC) + HORIZON or abs(_offset(dependency.resume_at)) >= _OFFSET_MAX:
        _bad("dependency.resume_at", dependency.resume_at, _EXPECTED["dependency.resume_at"])


def _check_complete(m: Complete, body: bytes) -> None:
    if m.items_added and len(set(m.items_added)) < len(m.items_added):
        _bad("items_added", "an id twice", "distinct ids")
    only_adds_or_seals = m.item_id is None and (m.items_added is not None or m.sealed is not None)
    if only_adds_or_seals and (m.outcome is not None or m.outcome_type is not None):
        _bad("outcome", m.outcome_type, "none in a message that only adds or seals")
    if not only_adds_or_seals and m.outcome_type is None:
        _bad("outcome_type", None, f"one of {', '.join(OutcomeType)}")
    problem = None if m.outcome is None else outcome_problem(m.outcome, body)
    if problem:
        _refuse_field("outcome", *problem)


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


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta(0)


def _bad(field: str, got: object, expected: str) -> NoReturn:
    _refuse_field(field, "missing" if got is None else _shown(got), expected)


def _refuse_field(field: str, found: str, expected: str) -> NoReturn:
    raise Refused(
        f"{field or 'the message'} is {found}; expected {expected}. Correct the message and send it again.",
        field=field,
        expected=expected,
    )


def _shown(value: object) -> str:
    """Return the beginning of a value as JSON in ASCII: none of its control characters must reach a terminal."""
    try:
        return json.dumps(value, default=str)[:80]
    except RecursionError:
        return "JSON nested too deep"


def _refuse(body: bytes, type_: type[Message], problem: str) -> NoReturn:
    """Name what the decoder found; the version first, since another version has other fields."""
    whole: object = None
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        whole = msgspec.json.decode(body)
    if isinstance(whole, dict):
        version = cast("dict[str, Any]", whole).get("v", "missing")
        # Neither true nor 1.0, which Python takes for the same.
        if type(version) is not int or version != 1:
            raise Refused(
                f"v is {_shown(version)}; expected 1. Send version 1 of this message.",
                code="unsupported-version",
                field="v",
            )
    at = _FIELD.search(problem)
    path = _INDEX.sub("", at["path"]) if at else ""
    unknown = _UNKNOWN.search(problem)
    if unknown:
        field = ".".join(
            part for part in (path, _UNPRINTABLE.sub("\ufffd", unknown["field"][:_NAME_CHARACTERS])) if part
        )
        raise Refused(
            f"{field} is an unknown field; expected only those of version 1. Leave it out.",
            code="unknown-field",
            field=field,
        )
    named = _MISSING.search(problem)
    field = ".".join(part for part in (path, named["field"] if named else "") if part)
    expected = _EXPECTED.get(field)
    if field == "reason":
        expected = "an object" if type_ is Cancel else _WAIT_REASONS
    _bad(field, _found(cast("object", whole), field), expected or _FIELD.sub("", problem).removeprefix("Expected "))


def _found(whole: object, field: str) -> object:
    """Return what stands at a place of a message; None: nothing."""
    place = whole
    for name in field.split(".") if field else ():
        place = cast("dict[str, Any]", place).get(name) if isinstance(place, dict) else None
    return place

"""One line of what `doctor` finds."""

from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec
import psycopg
from redis import RedisError

from shared.errors import DeferredCheckpointError


class Verdict(StrEnum):
    """What a finding means: a warning may be meant so, a failure cannot."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Line(msgspec.Struct, frozen=True):
    """A finding, and what to do about it; its fields are those of `--json`."""

    about: str
    verdict: Verdict
    found: str
    to_do: str | None = None


def checked(about: str, look: Callable[[], Iterable[Line]]) -> list[Line]:
    """Look; what cannot be looked at is a failure of its own, and hinders no other."""
    lines: list[Line] = []
    try:
        lines.extend(look())
    except DeferredCheckpointError as error:
        lines.append(Line(about, Verdict.FAIL, _one_line(error.message)))
    except (psycopg.Error, RedisError, OSError) as error:
        lines.append(Line(about, Verdict.FAIL, _one_line(str(error)) or type(error).__name__))
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())

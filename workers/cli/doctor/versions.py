"""Versions: of Python, and of the packages whose behaviour this release was tried with."""

import platform
import re
from collections.abc import Iterator
from importlib.metadata import requires, version
from typing import Final

from workers.cli.doctor.line import Line, Verdict

PACKAGE: Final = "deferred-checkpoints"
WATCHED: Final = ("celery", "kombu", "redis", "psycopg", "flower")
_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?\s*(?P<range>.*)")


def versions() -> Iterator[Line]:
    """Say which versions run here, and whether they are among those that are expected."""
    yield Line("python", Verdict.OK, platform.python_version())
    expected = {match["name"].lower(): match["range"] for one in requires(PACKAGE) or [] if (match := _match(one))}
    for name in WATCHED:
        found = version(name)
        if _fits(found, expected.get(name, "")):
            yield Line(name, Verdict.OK, found)
        else:
            yield Line(
                name,
                Verdict.WARN,
                f"{found}; expected {expected[name]}",
                "Install with the hashes of requirements.txt.",
            )


def _match(requirement: str) -> "re.Match[str] | None":
    return _REQUIREMENT.match(requirement)


def _fits(found: str, expected: str) -> bool:
    """Whether a version lies in a range of `>=` and `<`, the only ones that this project asks for."""
    own = _numbers(found)
    for part in filter(None, expected.replace("(", "").replace(")", "").split(",")):
        if part.startswith(">=") and own < _numbers(part[2:]):
            return False
        if part.startswith("<") and own >= _numbers(part[1:]):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", text)[:3])

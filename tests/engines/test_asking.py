"""What programs of the engine `cri` say when something is not there, and when they are not let in."""

import re

import pytest

from shared.errors import EngineError, EngineUnavailable, EngineUnsupported, RunGone
from workers.engines.crictl import ask


def saying(words: str) -> list[str]:
    """Return a program that fails with some words."""
    return ["sh", "-c", 'echo "$0" >&2; exit 1', words]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("manifest unknown: manifest unknown", RunGone),
        ("rpc error: code = NotFound desc = could not find container", RunGone),
        # Expired credentials must not have a run given up whose image is there.
        ("pull access denied, repository does not exist or may require authorization", EngineUnavailable),
        ("unauthorized: the repository may not exist", EngineUnavailable),
        ("connection refused", EngineUnavailable),
    ],
)
def test_what_is_gone_is_told_from_what_is_out_of_reach(words: str, error: type[EngineError]) -> None:
    """Only the first may end a run; and the program's own words are told."""
    with pytest.raises(error, match=re.escape(words)):
        ask(saying(words), seconds=10)


def test_a_program_that_is_missing_or_silent_is_named() -> None:
    """No other try mends the first."""
    with pytest.raises(EngineUnsupported, match="no-such-program cannot be started"):
        ask(["no-such-program"], seconds=10)
    with pytest.raises(EngineUnavailable, match=r"took longer than 0\.1 s"):
        ask(["tail", "-f", "/dev/null"], seconds=0.1)

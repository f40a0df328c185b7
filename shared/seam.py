"""A seam at every durable effect of a story: nothing in production, a place to stand for tests.

Each story calls `effect("take.claimed")` right after something that outlives the process. A simulator may decide
there who goes on next; a fault test may have the process killed there. Source: the house's test plan, 4a and 4c.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

# NAME:COUNT, for example "take.offered:2": the process kills itself when it passes that effect for the 2nd time.
_FAIL_AT: Final = os.environ.get("FAIL_AT", "")

_passed: dict[str, int] = {}
_listener: Callable[[str], None] | None = None


def effect(name: str) -> None:
    """Mark that a durable effect has just happened; the name is `story.past-participle`."""
    if _FAIL_AT:
        _passed[name] = _passed.get(name, 0) + 1
        if f"{name}:{_passed[name]}" == _FAIL_AT:
            os.kill(os.getpid(), signal.SIGKILL)
    if _listener is not None:
        _listener(name)


def listen(listener: Callable[[str], None] | None) -> None:
    """Call a function at every effect of this process; None ends that."""
    global _listener  # noqa: PLW0603  # one process has one simulator
    _listener = listener

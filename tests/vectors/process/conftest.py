"""Nodes with CRIU, and runs that are really frozen away there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from criu import why_not_criu, with_criu
from process_runs import CountingRun
from waiting import wait_until

from shared.settings import Settings

GATED = '[ "$1" != dump ] || { touch "$0.began"; cat "$0.gate" >/dev/null; }; exec "$CRIU" "$@"'


@pytest.fixture
def script() -> str:
    """What stands in criu's place; a test that has another says so."""
    return 'exec "$CRIU" "$@"'


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, script: str) -> Settings:
    """Settings of a node with CRIU; skipped where that does not work."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    return with_criu(settings, tmp_path, script=script)


@pytest.fixture
def a_counting_run(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], CountingRun]]:
    """Start runs that count; they are ended with the test."""
    runs: list[CountingRun] = []

    def start() -> CountingRun:
        runs.append(CountingRun(tmp_path / f"counting-{len(runs)}", node=settings.node))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


class Gate:
    """A pipe at which dumps wait; for a test whose `script` is `GATED`.

    Args:
        path: Of the pipe.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)

    def wait(self) -> None:
        """Wait until a dump is at it."""
        wait_until(self._path.with_suffix(".began").exists)

    def open(self) -> None:
        """Let the dump go on."""
        self._path.write_text("go on")


@pytest.fixture
def gate(settings: Settings) -> Gate:
    """The gate of this test's dumps."""
    return Gate(Path(f"{settings.criu_path}.gate"))

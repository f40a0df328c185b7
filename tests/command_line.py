"""The real command `checkpoints`, as a process with a test's settings."""

import json
import subprocess
import sys
from typing import Any

from system import environment_of

from shared.settings import Settings

SECONDS = 60


def argv_of(*words: str) -> list[str]:
    """Return a command line."""
    return [sys.executable, "-m", "workers.cli.main", *words]


def checkpoints(settings: Settings, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        argv_of(*words),
        env=environment_of(settings) | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def objects(settings: Settings, *words: str) -> list[dict[str, Any]]:
    """Return what a command prints with `--json`; it must have done its work."""
    done = checkpoints(settings, *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def verdicts(settings: Settings, **environment: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return doctor's exit code, and its verdict and finding on each thing."""
    done = checkpoints(settings, "doctor", "--json", **environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"about", "verdict", "found", "to_do"} for line in lines)
    return done.returncode, {line["about"]: (line["verdict"], line["found"]) for line in lines}

"""The README's "Use it from your service", run as it is written, beside a real `checkpoints up`."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from waiting import wait_until

from shared.settings import PREFIX

ROOT: Final = Path(__file__).parents[2]
USE: Final = (ROOT / "README.md").read_text().partition("## Use it from your service")[2].partition("\n## ")[0]
BLOCKS: Final[list[tuple[str, str]]] = re.findall(r"^```(\w+)\n(.*?)^```$", USE, re.MULTILINE | re.DOTALL)
SECONDS: Final = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the README's examples look into /proc")


@pytest.fixture(scope="module")
def beside_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which `make up` runs, with the project's `.venv`."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv").symlink_to(sys.prefix)
    up = subprocess.Popen([".venv/bin/python", "-m", "workers.cli.main", "up"], cwd=folder, env=environment())
    try:
        wait_until((folder / ".checkpoints" / "up.env").exists, seconds=SECONDS)
        yield folder
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(timeout=SECONDS) == 0


def environment() -> dict[str, str]:
    """Return a user's environment: no settings of ours, and the project to import from."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return own | {"PYTHONPATH": str(ROOT)}


def block(language: str, number: int = 0) -> str:
    """Return a block of the section."""
    return [text for name, text in BLOCKS if name == language][number]


def as_a_user(folder: Path, script: str) -> str:
    """Run a shell's lines behind those that read `up.env`; return what they print."""
    done = subprocess.run(
        ["bash", "-c", block("sh") + script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_python_example_prints_what_it_says(beside_up: Path) -> None:
    """Its wait is deferred, ends first, and is continued live."""
    (beside_up / "example.py").write_text(block("python"))

    said = as_a_user(beside_up, ".venv/bin/python example.py").splitlines()

    shown = block("text").splitlines()
    assert said[1:] == shown[1:]
    assert re.sub(r"[0-9]", "0", said[0]) == re.sub(r"[0-9]", "0", shown[0])


@pytest.mark.skipif(
    shutil.which("psql") is None or shutil.which("redis-cli") is None, reason="there is no `psql` or no `redis-cli`"
)
def test_the_shell_example_prints_what_it_says(beside_up: Path) -> None:
    """A wait in a transaction of SQL, its end as plain JSON, its continuation from the list."""
    said = as_a_user(beside_up, block("sh", 1)).split()

    assert said[:3] == ["true", "1", "run.continue"]
    assert said[3:] == ["finish_continuation", "---------------------", "t", "(1", "row)"]

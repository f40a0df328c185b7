"""An engine's command that starts while something else is done, for which it waits."""

import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnavailable
from tests.waiting import wait_until
from workers.engines import command
from workers.engines.processes import PROC
from workers.node.lock import NodeLock

NEVER = Event()

# Tells that it started, waits for its byte, and tells what it finds then.
WAITS = """
import os, sys
from pathlib import Path

folder = Path(sys.argv[1])
(folder / "started.new").write_text(str(os.getpid()))
(folder / "started.new").rename(folder / "started")
if os.read(0, 1):
    print((folder / "first").read_text())
    (folder / "went-on").touch()
"""

DIES = """
import sys
from pathlib import Path
from threading import Event
from workers.engines import command
from workers.node.lock import node_lock

folder = Path(sys.argv[1])
with node_lock(folder / "locks", "run_1") as lock:
    argv = [sys.executable, "-c", sys.argv[2], sys.argv[1]]
    command.run(argv, lock=lock, stop=Event(), seconds=60, first=Event().wait)
"""


def test_the_program_starts_meanwhile_and_goes_on_afterwards(lock: NodeLock, tmp_path: Path) -> None:
    """What it waits for is there when it goes on."""

    def first() -> None:
        wait_until((tmp_path / "started").exists)
        (tmp_path / "first").write_text("done")

    argv = [sys.executable, "-c", WAITS, str(tmp_path)]
    completed = command.run(argv, lock=lock, stop=NEVER, seconds=60, first=first)

    assert completed.output == "done\n"


def test_it_does_not_go_on_if_what_comes_first_fails(lock: NodeLock, tmp_path: Path) -> None:
    """The error is raised as it is, and nothing of the program is left."""

    def first() -> None:
        wait_until((tmp_path / "started").exists)
        raise EngineUnavailable("the store is away")

    with pytest.raises(EngineUnavailable, match="the store is away"):
        command.run([sys.executable, "-c", WAITS, str(tmp_path)], lock=lock, stop=NEVER, seconds=60, first=first)

    assert not (PROC / (tmp_path / "started").read_text()).exists()
    assert not (tmp_path / "went-on").exists()


def test_it_does_not_go_on_if_the_worker_dies_meanwhile(tmp_path: Path) -> None:
    """It ends by itself: nobody is there to end it."""
    worker = subprocess.Popen([sys.executable, "-c", DIES, str(tmp_path), WAITS])
    wait_until((tmp_path / "started").exists)
    program = PROC / (tmp_path / "started").read_text()

    worker.send_signal(signal.SIGKILL)
    worker.wait()

    wait_until(lambda: not program.exists())
    assert not (tmp_path / "went-on").exists()

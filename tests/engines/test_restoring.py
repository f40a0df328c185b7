"""`restoring.py`, the program that runs a restore: how it ends one that must end, without any criu."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import processes_of
from waiting import wait_until

from workers.engines import restoring

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

TREE = 'sh -c "sleep 1000 & wait" & sleep 1000 & touch ready; wait'


def test_a_restore_does_not_hear_that_it_must_end(tmp_path: Path) -> None:
    """It would let go of what it holds before that was stopped. It is killed then, with all of it."""
    argv = [sys.executable, "-I", "-S", restoring.__file__, str(tmp_path / "record"), str(tmp_path / "pid")]
    launcher = subprocess.Popen([*argv, "sleep", "1000"], stdin=subprocess.PIPE, cwd=tmp_path, start_new_session=True)
    assert launcher.stdin is not None
    launcher.stdin.write(b"\n")
    launcher.stdin.close()
    restore = wait_until(lambda: next((one.pid for one in processes_of(tmp_path) if one.command == "sleep 1000"), None))
    launcher.send_signal(signal.SIGSTOP)

    os.killpg(launcher.pid, signal.SIGTERM)

    wait_until(lambda: is_pending(restore, signal.SIGTERM))
    launcher.send_signal(signal.SIGCONT)
    assert launcher.wait() == 128 + signal.SIGKILL
    assert processes_of(tmp_path) == []


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal has come to a process that does not hear it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    pending = next(line.split()[1] for line in lines if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


def test_parents_are_found_before_their_children(tmp_path: Path) -> None:
    """In the other order they are killed: the end of a parent may have the kernel continue a stopped child."""
    with subprocess.Popen(["sh", "-c", TREE], cwd=tmp_path, start_new_session=True) as tree:
        try:
            wait_until(lambda: len(processes_of(tmp_path)) == 4 and (tmp_path / "ready").exists())
            its = {one.pid for one in processes_of(tmp_path)}

            found = [pid for pid in restoring.descendants() if pid in its]

            assert found[0] == tree.pid
            assert set(found) == its
            for pid in found[1:]:
                assert found.index(restoring.parent_of(str(pid))) < found.index(pid)
        finally:
            os.killpg(tree.pid, signal.SIGKILL)

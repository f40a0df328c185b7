"""The launcher: what it becomes dies with its parent, and never starts for one that is dead already."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from workers.cli import child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing dies with its parent")

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]


def launch(*options: str, program: list[str], parent: int | None = None) -> subprocess.Popen[str]:
    """Start a program behind the launcher."""
    return subprocess.Popen(
        [sys.executable, "-S", "-I", child.__file__, *options, "--", *program],
        env={**os.environ, child.PARENT: str(parent or os.getpid())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_becomes_the_program() -> None:
    """Same process, same output, same exit code."""
    program = [sys.executable, "-c", "import os, sys; print(os.getpid()); sys.exit(3)"]

    process = launch(program=program)
    output, _ = process.communicate()

    assert (int(output), process.returncode) == (process.pid, 3)


def test_it_does_not_start_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    """A parent that dies before the kernel was asked is found by its number."""
    mark = tmp_path / "started"
    process = launch("--die-with", "SIGTERM", program=["touch", str(mark)], parent=2**22 - 1)

    output, _ = process.communicate()

    assert process.returncode == 1
    assert "the parent is gone" in output
    assert not mark.exists()


@pytest.mark.parametrize("user", [[], ["--nobody"]])
def test_it_dies_with_its_parent(user: list[str]) -> None:
    """Also after a change of user, which makes the kernel forget the wish."""
    if user and os.geteuid() != 0:
        pytest.skip("only root may become another user")
    launched = [sys.executable, "-S", "-I", child.__file__, "--die-with", "SIGTERM", *user, "--", *SLEEP]
    # The parent starts it, tells its number and waits.
    script = (
        "import os, signal, subprocess, sys\n"
        f"os.environ[{child.PARENT!r}] = str(os.getpid())\n"
        f"print(subprocess.Popen({launched!r}).pid, flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: "signal.pause" in command_of(pid) and "child.py" not in command_of(pid))

        parent.kill()

    wait_until(lambda: command_of(pid) == "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_nobody_reads_what_lies_in_a_closed_folder(tmp_path: Path) -> None:
    """As Postgres must, whose programs may lie below a folder that only root may enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script = closed / "program"
    script.write_text('#!/bin/sh\nid -u\ntest -r "$0" && echo readable\n')
    script.chmod(0o755)

    output, _ = launch("--nobody", program=[str(script)]).communicate()

    assert output.split() == [str(pwd.getpwnam("nobody").pw_uid), "readable"]


def test_a_lock_lasts_as_long_as_the_program(tmp_path: Path) -> None:
    """The second program begins when the first has ended."""
    lock = ["--lock", str(tmp_path / "lock")]
    first = launch(*lock, program=SLEEP)
    wait_until(lambda: "child.py" not in command_of(first.pid))
    second = launch(*lock, program=["true"])
    wait_until(lambda: Path(f"/proc/{second.pid}/wchan").exists() and (tmp_path / "lock").exists())
    assert second.poll() is None

    first.kill()
    first.communicate()

    second.communicate(timeout=5)
    assert second.returncode == 0


def command_of(pid: int) -> str:
    """Return a process's command; empty once it is dead."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""

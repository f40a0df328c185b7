"""An engine's command: it inherits the run's lock, ends at a revocation or a limit, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import msgspec
import pytest

from shared.errors import EngineRevoked, EngineUnavailable, EngineUnsupported
from tests.engines.counting import session_members
from tests.waiting import wait_until
from workers.engines import command
from workers.node import overdue
from workers.node.lock import NodeLock, node_lock

NEVER = Event()
LONG = 60.0

# Tells its pid, then stays: with a child in its group, and deaf to SIGTERM if asked for.
STAYS = """
import os, signal, subprocess, sys, time
from pathlib import Path

if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
told = Path(sys.argv[1])
told.with_suffix(".new").write_text(str(os.getpid()))
told.with_suffix(".new").rename(told)
if "leaves" not in sys.argv:
    time.sleep(600)
"""

WORKER = """
import sys
from pathlib import Path
from threading import Event
from workers.engines import command
from workers.node.lock import node_lock

with node_lock(Path(sys.argv[1]), "run_1") as lock:
    command.run(sys.argv[2:], lock=lock, stop=Event(), seconds=600)
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Where a command that stays tells its pid."""
    return tmp_path / "pid"


def python(code: str, *arguments: str) -> list[str]:
    """Return the arguments that run a piece of Python."""
    return [sys.executable, "-c", code, *arguments]


def pid_of(told: Path) -> int:
    """Return the pid of a command that stays, once it has told it."""
    wait_until(told.exists)
    return int(told.read_text())


def assert_nothing_left(pid: int) -> None:
    """Neither a zombie nor a member of the command's group is there."""
    assert not Path(f"/proc/{pid}").exists()
    wait_until(lambda: session_members(pid) == [])


def test_a_command_that_ends_well_says_what_it_printed(lock: NodeLock) -> None:
    """Both of its outputs are kept, in their order."""
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"

    completed = command.run(python(code), lock=lock, stop=NEVER, seconds=LONG)

    assert completed.output == "out\nerr\n"


def test_a_command_is_never_given_to_a_shell(lock: NodeLock) -> None:
    """An argument that a shell would act on stays an argument."""
    nasty = "; echo $HOME `id` > /tmp/x"

    completed = command.run(python("import sys; print(sys.argv[1])", nasty), lock=lock, stop=NEVER, seconds=LONG)

    assert completed.output == nasty + "\n"


def test_a_failure_says_the_last_lines(lock: NodeLock) -> None:
    """Whoever reads the error sees why the command failed, without a look into another log."""
    code = "import sys; print('\\n'.join(map(str, range(1000)))); print('disk full'); sys.exit(3)"

    with pytest.raises(EngineUnavailable, match="exited with code 3: disk full") as caught:
        command.run(python(code), lock=lock, stop=NEVER, seconds=LONG)

    assert caught.value.facts["exit_code"] == 3
    output = str(caught.value.facts["output"]).splitlines()
    assert output[-2:] == ["999", "disk full"]
    assert len(output) == command.LAST_LINES


def test_a_command_that_is_killed_by_others_has_failed(lock: NodeLock) -> None:
    """The out-of-memory killer looks like this."""
    with pytest.raises(EngineUnavailable, match="killed by signal 9"):
        command.run(python("import os; os.kill(os.getpid(), 9)"), lock=lock, stop=NEVER, seconds=LONG)


def test_only_the_end_of_a_long_output_is_kept(lock: NodeLock) -> None:
    """A command that prints without end neither blocks nor fills the worker's memory."""
    code = "import sys; sys.stdout.write('x' * 5_000_000 + 'end')"

    completed = command.run(python(code), lock=lock, stop=NEVER, seconds=LONG)

    assert len(completed.output) == command.OUTPUT_BYTES_MAX
    assert completed.output.endswith("xend")


def test_a_program_that_is_missing_is_not_tried_again(lock: NodeLock) -> None:
    """No retry installs it."""
    with pytest.raises(EngineUnsupported, match="Install it"):
        command.run(["/no/such/program"], lock=lock, stop=NEVER, seconds=LONG)


def test_a_command_knows_none_of_our_settings(lock: NodeLock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords stay here, and a command never passes for a workload."""
    monkeypatch.setenv("CHECKPOINT_DATABASE_URL", "postgresql://me:secret@here/db")
    monkeypatch.setenv("CHECKPOINT_WORKLOAD", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")

    completed = command.run(python("import os; print(dict(os.environ))"), lock=lock, stop=NEVER, seconds=LONG)

    assert "CHECKPOINT_" not in completed.output
    assert "SOMETHING_ELSE" in completed.output


@pytest.mark.parametrize("manner", ["polite", "deaf"])
def test_a_revocation_ends_the_command(
    lock: NodeLock, told: Path, manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM, and KILL for one that does not listen; its children end with it."""
    monkeypatch.setattr(command, "POLITE_SECONDS", 0.1 if manner == "deaf" else LONG)
    stop = Event()
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(command.run, python(STAYS, str(told), manner), lock=lock, stop=stop, seconds=LONG)
        pid = pid_of(told)
        assert not running.done()

        stop.set()

        with pytest.raises(EngineRevoked):
            running.result()
    assert_nothing_left(pid)


def test_a_command_that_was_revoked_before_is_not_started(lock: NodeLock, told: Path) -> None:
    """Nothing is begun for a wait that is over."""
    stop = Event()
    stop.set()

    with pytest.raises(EngineRevoked, match="not started"):
        command.run(python(STAYS, str(told)), lock=lock, stop=stop, seconds=LONG)

    assert not told.exists()


def test_a_command_has_a_time_limit(tmp_path: Path) -> None:
    """A command that hangs is ended, the lock is free again, and another try may mend it."""
    with node_lock(tmp_path, "run_2") as other:
        assert other is not None
        with pytest.raises(EngineUnavailable, match="CHECKPOINT_ENGINE_TIMEOUT_MS"):
            command.run(python("import time; time.sleep(600)"), lock=other, stop=NEVER, seconds=0.1)

    with node_lock(tmp_path, "run_2") as again:
        assert again is not None


def test_what_a_command_leaves_in_its_group_is_ended(lock: NodeLock, told: Path) -> None:
    """A background child of a command that ended well must not keep the run locked."""
    command.run(python(STAYS, str(told), "leaves"), lock=lock, stop=NEVER, seconds=LONG)

    assert_nothing_left(pid_of(told))


def test_the_lock_lasts_as_long_as_the_command_of_a_killed_worker(tmp_path: Path, told: Path) -> None:
    """Kill -9 of the worker: nobody else acts on the run until the command that it left has ended."""
    locks = tmp_path / "locks"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(locks), *python(STAYS, str(told))])
    pid = pid_of(told)

    worker.kill()
    worker.wait()

    for _ in range(50):
        assert not is_free(locks)
    assert pid in session_members(pid)
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: is_free(locks))


def test_a_command_of_a_killed_worker_has_its_limit_too(tmp_path: Path, told: Path) -> None:
    """One that hangs would keep the lock for ever, and its run would stand: whoever finds the lock held ends it."""
    locks = tmp_path / "locks"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(locks), *python(STAYS, str(told))])
    pid = pid_of(told)
    worker.kill()
    worker.wait()
    assert not is_free(locks)
    assert pid in session_members(pid)

    (file,) = locks.iterdir()
    limit = msgspec.json.decode(file.read_bytes(), type=overdue.Limit)
    assert limit.until > time.monotonic() + 600
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(limit, until=time.monotonic())))

    wait_until(lambda: is_free(locks))
    wait_until(lambda: session_members(pid) == [])


def test_a_limit_that_was_left_behind_ends_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pid may be another's by now, and the lock be held by a worker that lives."""
    monkeypatch.setattr(overdue, "SPARE_SECONDS", -1.0)
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        with node_lock(tmp_path, "run_1") as lock:
            assert lock is not None
            overdue.write_limit(lock.fd, group=other.pid, seconds=0)
            written = msgspec.json.decode(os.pread(lock.fd, overdue.BYTES_MAX, 0), type=overdue.Limit)
            earlier = msgspec.structs.replace(written, started_at_ticks=written.started_at_ticks - 1)
            os.pwrite(lock.fd, msgspec.json.encode(earlier).ljust(overdue.BYTES_MAX), 0)

            assert not is_free(tmp_path)

            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(timeout=0.3)
    finally:
        other.kill()
        other.wait()


def test_a_command_that_has_ended_leaves_no_limit(lock: NodeLock) -> None:
    """Whoever holds the lock after it is not taken for it."""
    command.run(python("pass"), lock=lock, stop=NEVER, seconds=LONG)

    assert os.fstat(lock.fd).st_size == 0


def is_free(folder: Path) -> bool:
    """Whether the run's lock can be had now."""
    with node_lock(folder, "run_1") as lock:
        return lock is not None

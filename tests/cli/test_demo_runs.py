"""The processes of a demo: a run ignores repeats, ends with its platform, and a task sees its run being frozen."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from criu import why_not_criu
from waiting import wait_until

from shared.vocabulary import EngineName
from workers.cli.demo.ledger import read_ledgers
from workers.cli.demo.pipes import Pipe
from workers.cli.demo.plan import Wait
from workers.cli.demo.tasks import TaskProcess
from workers.cli.demo.workloads import RunProcess, kill_workloads, workloads_in
from workers.engines import processes
from workers.engines.processes import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

GO = "go", 1, "live", "one", '"x"'
# Starts a run that waits, says which process it is, and is then killed.
PLATFORM = """
import select, sys
from pathlib import Path
from shared.vocabulary import EngineName
from workers.cli.demo.pipes import Pipe
from workers.cli.demo.workloads import RunProcess
folder = Path(sys.argv[1])
pipe = Pipe(folder / "platform")
run = RunProcess(folder / "run", "time", engine=EngineName(sys.argv[2]))
select.select([pipe], [], [])
print(run.process.pid, run.process.started_at_ticks, *pipe.heard()[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[EngineName.SIMULATE, EngineName.PROCESS])
def engine(request: pytest.FixtureRequest) -> EngineName:
    """Each engine of a demo that works here."""
    engine: EngineName = request.param
    if engine is EngineName.PROCESS and (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    return engine


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Pipe]:
    """Where runs speak."""
    pipe = Pipe(tmp_path / "platform")
    yield pipe
    pipe.close()


@pytest.fixture
def a_run(tmp_path: Path, engine: EngineName, platform: Pipe) -> Iterator[RunProcess]:
    """A run that waits for two times, and has said so."""
    run = RunProcess(tmp_path / "run", "time", "time", engine=engine)
    assert said(platform, 1) == [["run", "wait", "1"]]
    yield run
    kill_workloads(tmp_path)
    run.end()


def test_a_run_ignores_a_wait_that_it_has_passed_and_answers_again(
    a_run: RunProcess, platform: Pipe, tmp_path: Path
) -> None:
    """It goes on once, whatever comes how often."""
    a_run.tell(*GO)
    answers = said(platform, 2)
    a_run.tell(*GO)
    answers += said(platform, 1)
    a_run.tell("go", 2, "restored", "two", "{}")
    answers += said(platform, 2)

    assert [answer[1:5] for answer in answers] == [
        ["done", "one", "1", "live"],
        ["wait", "2"],
        ["done", "one", "1", "live"],
        ["done", "two", "2", "restored"],
        ["ended"],
    ]
    assert [(entry.wait, entry.went_on) for entry in read_ledgers(tmp_path)] == [
        (("run", 1), True),
        (("run", 1), False),
        (("run", 2), True),
    ]
    a_run.end()
    assert workloads_in(tmp_path) == []
    assert not a_run.tell(*GO)


def test_a_run_for_criu_has_a_pid_namespace_and_a_folder_of_its_own(
    a_run: RunProcess, engine: EngineName, tmp_path: Path
) -> None:
    """It has neither a terminal nor a pipe of its parent's."""
    folder, errors = Path(f"/proc/{a_run.process.pid}"), str(tmp_path / "errors.log")
    own = {str(tmp_path / "run" / name) for name in ("inbox", "ledger")}

    assert processes.pids_in_namespaces(a_run.process)[-1] == (1 if engine is EngineName.PROCESS else a_run.process.pid)
    assert (folder / "cwd").readlink() == tmp_path / "run"
    assert {name: opened(folder)[name] for name in "012"} == {"0": os.devnull, "1": errors, "2": errors}
    # What it said through was opened for that alone.
    wait_until(lambda: set(opened(folder).values()) == {os.devnull, errors, *own})


@pytest.mark.parametrize("stands", [True, False])
def test_a_run_ends_when_its_platform_is_killed(tmp_path: Path, engine: EngineName, *, stands: bool) -> None:
    """Also one that `simulate` left standing at that moment: nobody is left who would let it go on."""
    if stands and engine is EngineName.PROCESS:
        pytest.skip("a worker that works on it continues or ends it")
    platform = subprocess.Popen(
        [sys.executable, "-c", PLATFORM, str(tmp_path), engine],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert platform.stdin is not None
    assert platform.stdout is not None
    pid, ticks, *words = platform.stdout.readline().split()
    run = Process(int(pid), int(ticks))
    assert words == ["run", "wait", "1"]
    if stands:
        processes.signal_process(run, signal.SIGSTOP)
        wait_until(lambda: processes.is_stopped(run))

    platform.kill()
    platform.wait()

    wait_until(lambda: not processes.is_alive(run))
    wait_until(lambda: workloads_in(tmp_path) == [])
    platform.stdin.close()
    platform.stdout.close()


@pytest.mark.parametrize("engine", [EngineName.SIMULATE], indirect=True)
def test_a_task_that_ends_at_a_freeze_ends_as_soon_as_its_run_stands(a_run: RunProcess, tmp_path: Path) -> None:
    """Its own time is far longer; what it gives is a result like any other."""
    task = TaskProcess("task", Wait("task", 600_000, ends_at_freeze=True), a_run.process, errors=tmp_path / "errors")
    another = TaskProcess("another", Wait("task", 600_000), a_run.process, errors=tmp_path / "errors")

    processes.signal_process(a_run.process, signal.SIGSTOP)
    wait_until(task.has_said_all)

    result = task.result()
    assert result is not None
    assert b'"task": "task"' in result
    assert not select.select([another], [], [], 0)[0]
    another.kill()


def opened(folder: Path) -> dict[str, str]:
    """Return what a process has open, by its descriptors."""
    found: dict[str, str] = {}
    for descriptor in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):
            found[descriptor.name] = str(descriptor.readlink())
    return found


def said(platform: Pipe, count: int) -> list[list[str]]:
    """Return the words of the next lines that runs say."""
    lines: list[list[str]] = []
    while len(lines) < count:
        assert select.select([platform], [], [], 20)[0], f"only {lines} was said"
        lines += platform.heard()
    assert len(lines) == count
    return lines

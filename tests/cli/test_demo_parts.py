"""What the demo is made of: its proof finds what is wrong, its runs ignore repeats, nothing outlives it."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from workers.cli.demo.ledger import problems, read_ledgers, repeats
from workers.cli.demo.plan import DELAY_MS, plan
from workers.cli.demo.started import Started
from workers.cli.demo.summary import latency
from workers.engines import processes
from workers.engines.processes import Process

GO = "go", 1, "live", "one", '"x"'
# Starts a run that waits, says which process it is, and is then killed.
PLATFORM = """
import sys
from pathlib import Path
from workers.cli.demo.started import Started
run = Started("parent.py", "run", sys.argv[1], "time", is_workload=True, errors=Path(sys.argv[1]))
print(run.process.pid, run.process.started_at_ticks, *run.heard(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def a_ledger(tmp_path: Path) -> Callable[..., Path]:
    """Write the ledger of a run."""

    def write(*lines: tuple[Any, ...], end: str = "\n") -> Path:
        text = "\n".join("\t".join(map(str, line)) for line in lines) + end
        tmp_path.joinpath("run.ledger").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def a_parent(tmp_path: Path) -> Iterator[Started]:
    """A run that waits for two times."""
    parent = Started(
        "parent.py", "run", str(tmp_path / "run.ledger"), "time", "time", is_workload=True, errors=tmp_path / "errors"
    )
    yield parent
    parent.kill()


FIRST = ("went-on", "run", 1, "live", '{"type": "success", "value": 1}')
SECOND = ("went-on", "run", 2, "restored", "{}")
IGNORED = ("ignored", "run", 1, "live", "{}")
EXPECTED = {("run", 1): {"type": "success", "value": 1}, ("run", 2): {}}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((FIRST, SECOND), ""),
        ((FIRST, IGNORED, SECOND), ""),
        ((FIRST, SECOND, SECOND), "wait 2 of run went on 2 times; expected once"),
        ((FIRST,), "wait 2 of run went on 0 times; expected once"),
        ((FIRST, IGNORED), "wait 2 of run went on 0 times; expected once"),
        ((("went-on", "run", 1, "live", "{}"), SECOND), "wait 1 of run went on with {}; expected {'type'"),
        ((FIRST, SECOND, ("went-on", "run", 3, "live", "{}")), "wait 3 of run went on, and no such wait"),
    ],
)
def test_the_proof_finds_each_wait_that_did_not_go_on_exactly_once(
    a_ledger: Callable[..., Path], lines: tuple[tuple[Any, ...], ...], problem: str
) -> None:
    """Doubled, missing, another's result, nobody's wait; a repeat that was ignored is none."""
    found = problems(read_ledgers(a_ledger(*lines)), EXPECTED)

    assert len(found) == bool(problem)
    assert all(one.startswith(problem) for one in found)


def test_a_line_that_was_cut_short_counts_as_none(a_ledger: Callable[..., Path]) -> None:
    """A run that was killed while it wrote has not gone on."""
    entries = read_ledgers(a_ledger(FIRST, SECOND, end=""))

    assert problems(entries, EXPECTED) == ["wait 2 of run went on 0 times; expected once"]


def test_a_run_ignores_a_wait_that_it_has_passed_and_answers_again(a_parent: Started, tmp_path: Path) -> None:
    """It goes on once, whatever comes how often."""
    assert lines_of(a_parent, 1) == [["wait", "1"]]

    a_parent.tell(*GO)
    answers = lines_of(a_parent, 2)
    a_parent.tell(*GO)
    answers += lines_of(a_parent, 1)
    a_parent.tell("go", 2, "restored", "two", "{}")
    answers += lines_of(a_parent, 1)

    assert [answer[:4] for answer in answers] == [
        ["done", "one", "1", "live"],
        ["wait", "2"],
        ["done", "one", "1", "live"],
        ["done", "two", "2", "restored"],
    ]
    entries = read_ledgers(tmp_path)
    assert [(entry.wait[1], entry.went_on) for entry in entries] == [(1, True), (1, False), (2, True)]
    assert repeats(entries) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the state is read from /proc")
@pytest.mark.parametrize("stands", [True, False])
def test_a_run_ends_when_its_platform_is_killed(tmp_path: Path, *, stands: bool) -> None:
    """Also one that stands frozen at that moment: nobody is left who would let it go on."""
    platform = subprocess.Popen(
        [sys.executable, "-c", PLATFORM, str(tmp_path / "run.ledger")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert platform.stdin is not None
    assert platform.stdout is not None
    pid, ticks, *said = platform.stdout.readline().split()
    run = Process(int(pid), int(ticks))
    assert said == ["wait", "1"]
    if stands:
        processes.signal_process(run, signal.SIGSTOP)
        wait_until(lambda: processes.is_stopped(run))

    platform.kill()
    platform.wait()

    wait_until(lambda: not processes.is_alive(run))
    platform.stdin.close()
    platform.stdout.close()


def test_two_thirds_of_the_tasks_end_within_the_delay() -> None:
    """The same in every demo of one size; every fourth run waits for a time."""
    runs = plan(60)
    tasks = [wait.milliseconds for waits in runs for wait in waits if wait.kind == "task"]

    assert runs == plan(60)
    assert sum(waits[1].kind == "time" for waits in runs) == 15
    assert 0.64 < sum(milliseconds < DELAY_MS for milliseconds in tasks) / len(tasks) < 0.69


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """By the nearest rank: of few values the 99th is the greatest."""
    measured = latency([0.003, 0.001, 0.002])

    assert measured is not None
    assert (measured.count, measured.p50_ms, measured.p99_ms) == (3, 2.0, 3.0)
    assert latency([]) is None


def lines_of(started: Started, count: int) -> list[list[str]]:
    """Return the words of the next lines that a process says."""
    lines: list[str] = []
    while len(lines) < count:
        heard = started.heard()
        assert heard is not None, "it ended"
        lines += heard
    assert len(lines) == count
    return [line.split("\t") for line in lines]

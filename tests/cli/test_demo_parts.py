"""What the demo is made of: its plan, its proof that finds what is wrong, its numbers, the engine that it uses."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from criu import criu_path, why_not_criu

from shared.errors import EngineUnsupported
from shared.vocabulary import EngineName
from workers.cli.demo.ledger import problems, read_ledgers, repeats
from workers.cli.demo.means import CRIU_PATH, ENGINES, Wanted, choose, own_means
from workers.cli.demo.memory import Memory, resident
from workers.cli.demo.plan import DELAY_MS, plan
from workers.cli.demo.summary import latency
from workers.engines.processes import Process, read_stat

HOLDS = "held = bytearray(b'x') * 20_000_000; print(flush=True); input()"


@pytest.fixture
def a_ledger(tmp_path: Path) -> Callable[..., Path]:
    """Write the ledger of a run."""

    def write(*lines: tuple[Any, ...], end: str = "\n") -> Path:
        text = "\n".join("\t".join(map(str, line)) for line in lines) + end
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "ledger").write_text(text)
        return tmp_path

    return write


FIRST = ("went-on", 1, "live", '{"type": "success", "value": 1}')
SECOND = ("went-on", 2, "restored", "{}")
IGNORED = ("ignored", 1, "live", "{}")
EXPECTED = {("run", 1): {"type": "success", "value": 1}, ("run", 2): {}}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ((FIRST, SECOND), ""),
        ((FIRST, IGNORED, SECOND), ""),
        ((FIRST, SECOND, SECOND), "wait 2 of run went on 2 times; expected once"),
        ((FIRST,), "wait 2 of run went on 0 times; expected once"),
        ((FIRST, IGNORED), "wait 2 of run went on 0 times; expected once"),
        ((("went-on", 1, "live", "{}"), SECOND), "wait 1 of run went on with {}; expected {'type'"),
        ((FIRST, SECOND, ("went-on", 3, "live", "{}")), "wait 3 of run went on, and no such wait"),
    ],
)
def test_the_proof_finds_each_wait_that_did_not_go_on_exactly_once(
    a_ledger: Callable[..., Path], lines: tuple[tuple[Any, ...], ...], problem: str
) -> None:
    """Doubled, missing, another's result, nobody's wait; a repeat that was ignored is none."""
    found = problems(read_ledgers(a_ledger(*lines)), EXPECTED)

    assert len(found) == bool(problem)
    assert all(one.startswith(problem) for one in found)


def test_a_repeat_that_was_ignored_is_counted(a_ledger: Callable[..., Path]) -> None:
    """The summary says how many came."""
    assert repeats(read_ledgers(a_ledger(FIRST, IGNORED, SECOND))) == 1


def test_a_line_that_was_cut_short_counts_as_none(a_ledger: Callable[..., Path]) -> None:
    """A run that was killed while it wrote has not gone on."""
    entries = read_ledgers(a_ledger(FIRST, SECOND, end=""))

    assert problems(entries, EXPECTED) == ["wait 2 of run went on 0 times; expected once"]


def test_two_thirds_of_the_tasks_end_within_the_delay() -> None:
    """The same in every demo of one size; every fourth run waits for a time."""
    runs = plan(60)
    tasks = [wait.milliseconds for waits in runs for wait in waits if wait.kind == "task"]

    assert runs == plan(60)
    assert sum(waits[1].kind == "time" for waits in runs) == 15
    assert 0.64 < sum(milliseconds < DELAY_MS for milliseconds in tasks) / len(tasks) < 0.69


def test_a_sixth_of_the_tasks_ends_while_a_checkpoint_is_taken() -> None:
    """By looking at their run, not by luck: their own time is far longer than the delay."""
    tasks = [wait for waits in plan(60) for wait in waits if wait.kind == "task"]
    at_freeze = [wait for wait in tasks if wait.ends_at_freeze]

    assert 0.14 < len(at_freeze) / len(tasks) < 0.19
    assert all(wait.milliseconds > 10 * DELAY_MS for wait in at_freeze)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """By the nearest rank: of few values the 99th is the greatest."""
    measured = latency([0.003, 0.001, 0.002])

    assert measured is not None
    assert (measured.count, measured.p50_ms, measured.p99_ms) == (3, 2.0, 3.0)
    assert latency([]) is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_measured_before_a_freeze_and_while_it_lasts() -> None:
    """Of waits whose runs came back from a freeze; one that is gone holds none."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    stat = read_stat(f"/proc/{child.pid}")
    assert stat is not None
    process = Process(child.pid, stat.started_at_ticks)
    another = Process(child.pid, stat.started_at_ticks + 1)
    memory = Memory()

    memory.waits(("lived", 1), process)
    memory.waits(("froze", 1), process)
    assert memory.look(("lived", 1), process) > 20e6
    child.communicate()
    assert memory.look(("froze", 1), process) == 0
    memory.came_back(("froze", 1))

    assert 20e6 < memory.held().before_bytes < 40e6
    assert memory.held().frozen_bytes == 0
    assert resident(another) == 0


def test_own_workers_offer_process_where_criu_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """And say which criu it is."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    monkeypatch.setenv(CRIU_PATH, criu_path())

    means = own_means(Wanted.AUTO)

    assert means.why_not is None
    assert means.environment[ENGINES] == "process,simulate"
    assert means.environment[CRIU_PATH] == criu_path()


def test_without_criu_own_workers_offer_simulate_and_the_demo_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the engine's own words, with what to do; asked for by name it is an error."""
    monkeypatch.setenv(CRIU_PATH, "/no/criu")

    means = own_means(Wanted.AUTO)

    assert means.environment == {ENGINES: "simulate"}
    assert means.why_not is not None
    assert "/no/criu cannot be started" in means.why_not
    assert "make criu" in means.why_not
    with pytest.raises(EngineUnsupported, match="/no/criu cannot be started"):
        own_means(Wanted.PROCESS)


def test_the_engine_is_one_that_the_workers_offer() -> None:
    """`process` first, if runs can be started for it; whoever asks for another gets that, or an error."""
    is_root = os.geteuid() == 0
    both = ["simulate", "process"]

    assert choose(Wanted.SIMULATE, both, why_not=None).engine is EngineName.SIMULATE
    assert choose(Wanted.AUTO, both, why_not=None).engine is (EngineName.PROCESS if is_root else EngineName.SIMULATE)
    assert choose(Wanted.AUTO, ["simulate"], why_not="no criu").why_not == "no criu"
    for wanted, offered in ((Wanted.PROCESS, ["simulate"]), (Wanted.SIMULATE, ["docker"]), (Wanted.AUTO, [])):
        with pytest.raises(EngineUnsupported, match="the demo has no engine"):
            choose(wanted, offered, why_not=None)

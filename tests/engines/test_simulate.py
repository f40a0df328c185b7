"""The engine `simulate`: whole process trees, real signals, nothing but what it was told to touch."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from shared.errors import (
    BadRequest,
    EngineRevoked,
    EngineUnavailable,
    EngineUnsupported,
    Misconfigured,
    RunGone,
)
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.counting import (
    MARK,
    POLLS,
    CountingProcess,
    end_session,
    session_members,
    session_states,
    signal_session,
    workload_of,
)
from tests.waiting import wait_until
from workers.engines import processes
from workers.engines.available import engine_for, offered_engines
from workers.engines.process import ProcessEngine
from workers.engines.simulate import Simulate
from workers.node.lock import NodeLock

NEVER = Event()
LONG = 60.0
FORKS = 150

# Forks children that fork children, up to a limit, each of which lives on: some fork while others are stopped.
FORKING = """
import os, sys, time

def fork_on(depth):
    for _ in range(5):
        if os.fork() == 0:
            if depth:
                fork_on(depth - 1)
            while True:
                time.sleep(0.001)
        time.sleep(0.005)

fork_on(2)
while True:
    time.sleep(0.001)
"""

# A worker in the workload's own tree.
WITHIN = """
import sys
from pathlib import Path
from threading import Event
from tests.engines.counting import workload_of
from shared.errors import EngineUnsupported
from workers.engines.process import ProcessEngine
from workers.engines.simulate import Simulate
from workers.node.lock import node_lock

with node_lock(Path(sys.argv[1]), "run_1") as lock:
    try:
        Simulate([], seconds=60).freeze(workload_of(int(sys.argv[2])), lock=lock, stop=Event())
    except EngineUnsupported as error:
        print(error.message)
"""

Counting = Callable[..., CountingProcess]


@pytest.fixture
def engine() -> Simulate:
    """The engine without a program that stands for dump and store."""
    return Simulate([], seconds=LONG)


@pytest.fixture
def a_forking_process() -> Iterator[subprocess.Popen[bytes]]:
    """A marked process that forks and forks."""
    process = subprocess.Popen([sys.executable, "-c", FORKING], env=MARK, start_new_session=True)
    yield process
    end_session(process.pid)
    process.wait()


@pytest.mark.parametrize("forked_before", [1, 5, 20, 60])
def test_a_tree_that_forks_is_stopped_as_a_whole(
    engine: Simulate, lock: NodeLock, a_forking_process: subprocess.Popen[bytes], forked_before: int
) -> None:
    """One may fork while another is being stopped; in the end none runs and none is new."""
    leader = a_forking_process.pid
    wait_until(lambda: len(session_members(leader)) >= forked_before)

    engine.freeze(workload_of(leader), lock=lock, stop=NEVER)

    members = sorted(session_members(leader))
    for _ in range(POLLS // 10):
        assert session_states(leader) == {"T"}
        assert sorted(session_members(leader)) == members

    engine.thaw(workload_of(leader))
    wait_until(lambda: len(session_members(leader)) >= FORKS)
    assert "T" not in session_states(leader)


def test_a_freeze_that_was_cut_short_is_thawed_as_a_whole(engine: Simulate, a_counting_process: Counting) -> None:
    """A worker that was killed between two stops leaves a tree that stands in part."""
    counting = a_counting_process()
    os.kill(counting.pid, signal.SIGSTOP)
    wait_until(lambda: engine.is_standing(counting.workload))

    engine.thaw(counting.workload)

    counting.assert_runs()


def test_a_worker_never_stops_itself(tmp_path: Path) -> None:
    """A worker that runs inside of what it is told to freeze refuses, and goes on."""
    argv = ["sh", "-c", f'{sys.executable} -c "$1" "$2" $$; :', "sh", WITHIN, str(tmp_path / "other")]

    printed = subprocess.run(argv, env={**os.environ, **MARK}, check=True, capture_output=True, text=True, timeout=60)

    assert "would stop itself" in printed.stdout


def test_a_tree_without_its_mark_is_left_stopped(engine: Simulate, a_counting_process: Counting) -> None:
    """A thaw does not continue what somebody else stopped."""
    counting = a_counting_process(mark={})
    signal_session(counting.pid, signal.SIGSTOP)
    wait_until(lambda: session_states(counting.pid) == {"T"})

    engine.thaw(counting.workload)
    engine.permit(counting.workload)

    counting.assert_stands()
    assert not engine.is_standing(counting.workload)


def test_a_name_with_spaces_and_parentheses_misleads_nobody(a_counting_process: Counting) -> None:
    """The counting process calls itself `x) T 1 (`; its start time is read nevertheless."""
    counting = a_counting_process()

    stat = processes.read_stat(Path(f"/proc/{counting.pid}"))

    assert stat is not None
    assert stat.started_at_ticks == counting.workload.started_at_ticks


def test_a_workload_that_somebody_continued_is_not_stored(
    engine: Simulate, lock: NodeLock, a_counting_process: Counting
) -> None:
    """An image of a process that ran meanwhile would be torn."""
    counting = a_counting_process()
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    signal_session(counting.pid, signal.SIGCONT)

    with pytest.raises(EngineUnavailable, match="torn"):
        engine.store(counting.workload, name="1-1", lock=lock, stop=NEVER)


def test_a_workload_that_somebody_continued_during_the_store_is_not_stored(
    lock: NodeLock, a_counting_process: Counting
) -> None:
    """The same is seen when the program has ended."""
    counting = a_counting_process()
    code = f"import os, signal; os.killpg({counting.pid}, signal.SIGCONT)"
    engine = Simulate([sys.executable, "-c", code], seconds=LONG)
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnavailable, match="torn"):
        engine.store(counting.workload, name="1-1", lock=lock, stop=NEVER)


def test_a_store_that_fails_leaves_the_workload_frozen(lock: NodeLock, a_counting_process: Counting) -> None:
    """Whoever called decides about it; the engine does not."""
    counting = a_counting_process()
    engine = Simulate(["false"], seconds=LONG)
    engine.freeze(counting.workload, lock=lock, stop=NEVER)

    with pytest.raises(EngineUnavailable, match="false exited with code 1"):
        engine.store(counting.workload, name="1-1", lock=lock, stop=NEVER)

    counting.assert_stands()


def test_a_revocation_ends_a_store(lock: NodeLock, a_counting_process: Counting, tmp_path: Path) -> None:
    """A wait that ends during the dump does not wait for it."""
    counting = a_counting_process()
    begun = tmp_path / "begun"
    code = "import sys, time; from pathlib import Path; Path(sys.argv[1]).touch(); time.sleep(600)"
    engine = Simulate([sys.executable, "-c", code, str(begun)], seconds=LONG)
    stop = Event()
    engine.freeze(counting.workload, lock=lock, stop=stop)

    with ThreadPoolExecutor(1) as worker:
        storing = worker.submit(engine.store, counting.workload, name="1-1", lock=lock, stop=stop)
        wait_until(begun.exists)
        stop.set()
        with pytest.raises(EngineRevoked):
            storing.result()

    engine.thaw(counting.workload)
    counting.assert_runs()


def test_a_container_is_not_a_process(engine: Simulate, lock: NodeLock) -> None:
    """A workload of another kind is refused with a message that says so."""
    workload = Workload.from_json({"engine": "docker", "node": "here", "container": "run-1"})

    with pytest.raises(RunGone, match="names a container"):
        engine.freeze(workload, lock=lock, stop=NEVER)


def test_a_system_without_proc_is_told_so(engine: Simulate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On macOS the worker says what is missing."""
    monkeypatch.setattr(processes, "PROC", tmp_path)

    with pytest.raises(EngineUnsupported, match="/proc"):
        engine.probe()


def test_an_engine_that_this_node_does_not_offer_is_refused(tmp_path: Path) -> None:
    """By name, with what it offers."""
    assert isinstance(engine_for(EngineName.SIMULATE, Settings()), Simulate)
    process = Settings(engines="process", image_store=tmp_path.as_uri())
    assert isinstance(engine_for(EngineName.PROCESS, process), ProcessEngine)

    with pytest.raises(EngineUnsupported, match="this node has no engine docker"):
        engine_for(EngineName.DOCKER, Settings())
    with pytest.raises(EngineUnsupported, match="no engine simulate"):
        engine_for(EngineName.SIMULATE, Settings(engines="docker"))


def test_a_wrong_engine_in_the_settings_is_named() -> None:
    """A slip of the pen does not look like a node without engines."""
    assert offered_engines(Settings(engines="simulate, docker,simulate")) == (
        EngineName.SIMULATE,
        EngineName.DOCKER,
    )

    with pytest.raises(Misconfigured, match="dokcer"):
        offered_engines(Settings(engines="simulate,dokcer"))


@pytest.mark.parametrize(
    "value",
    [
        {"engine": "simulate", "node": "here", "pid": 4711, "started_at_ticks": 12},
        {"engine": "docker", "node": "here", "container": "run-1"},
    ],
)
def test_a_workload_reads_back_as_it_was_written(value: dict[str, object]) -> None:
    """The JSON object of the contract, both ways."""
    assert Workload.from_json(value).to_json() == value


@pytest.mark.parametrize(
    "change",
    [
        {"container": "run-1"},
        {"pid": None},
        {"started_at_ticks": None},
        {"pid": 0},
        {"pid": "1"},
        {"node": "Here"},
        {"node": "here\n"},
        {"engine": "magic"},
        {"more": 1},
        {"pid": None, "started_at_ticks": None},
        {"pid": None, "started_at_ticks": None, "container": "../x"},
    ],
)
def test_a_malformed_workload_is_refused(change: dict[str, object]) -> None:
    """Neither both kinds nor half of one, and nothing that could name something else."""
    value = {"engine": "simulate", "node": "here", "pid": 4711, "started_at_ticks": 12, **change}

    with pytest.raises(BadRequest, match="malformed"):
        Workload.from_json(value)

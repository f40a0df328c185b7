"""`checkpoints demo` as its user meets it: against servers of its own, or a system that is there already."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from criu import criu_path, stored_in, why_not_criu, with_criu
from processes import processes_of
from system import System, environment_of
from upstream import Upstream
from waiting import wait_until

from shared.client import Complete
from shared.settings import PREFIX, Settings
from shared.vocabulary import OutcomeType

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are stopped and looked up in /proc")

SECONDS = 100  # far more than on an idle machine
SLOW_DUMP = '[ "$1" != dump ] || sleep 0.5; exec "$CRIU" "$@"'
FROZEN = "SELECT dependency_id FROM checkpoint WHERE freed_at IS NOT NULL AND restored_at IS NULL"
FROZEN_FOR_A_TASK = (
    "SELECT d.id FROM dependency d JOIN checkpoint c ON c.id = d.checkpoint_id"
    " WHERE c.freed_at IS NOT NULL AND c.restored_at IS NULL AND d.reason = 'WAIT_FOR_TASK'"
)
Demo = Callable[..., subprocess.Popen[str]]


@pytest.fixture(params=["simulate", "process"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine of a demo that works here."""
    if request.param == "process" and (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, engine: str, tmp_path: Path) -> Settings:
    """Settings of a system that offers the engine. Its dumps are slow: some waits end meanwhile."""
    if engine == "process":
        return with_criu(settings, tmp_path, script=SLOW_DUMP)
    return settings.model_copy(update={"simulate_command": ["sleep", "0.5"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo and all its processes work; the test's own workers do not."""
    folder = tmp_path / "demo"
    folder.mkdir()
    return folder


@pytest.fixture
def demo(folder: Path) -> Iterator[Demo]:
    """Start a demo; whatever is left of it at the end fails."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.cli.main", "demo", "--data", str(folder / "data"), *arguments],
            env=own | {"TMPDIR": str(folder)} | environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    wait_until(lambda: processes_of(folder) == [])


MEMORY = {
    "process": ("the engine `process`: CRIU freezes runs", "0 MB while frozen", "kept in images"),
    "simulate": ("the engine `simulate`, which only pauses", "cannot be started", "the engine `simulate` only pauses"),
}


def test_it_starts_its_own_servers_and_proves_that_all_runs_went_on_once(demo: Demo, folder: Path, engine: str) -> None:
    """From nothing to a summary, with CRIU where it works; nothing is left: no process, no ledger, no image."""
    process = demo("--runs", "6", CHECKPOINT_CRIU_PATH=criu_path() if engine == "process" else "/no/criu")

    output, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, output + errors
    for line in (
        "starting Postgres, Redis and the workers",
        "12  of 6 runs",
        "called off in the delay",
        "refused",
        "restored",
        "slot-seconds freed",
        *MEMORY[engine],
        "p50",
        "each of 12 waits went on exactly once, with its own result",
        "no row has work left to do",
        "FROM run_timeline WHERE run_id = 'demo-",
    ):
        assert line in output
    assert processes_of(folder) == []
    assert [one.name for one in folder.iterdir()] == ["data"]
    assert not [one for name in ("images", "work") for one in (folder / "data").glob(f"{name}/*")]


def test_it_speaks_to_the_system_that_the_environment_names(
    demo: Demo, system: System, settings: Settings, engine: str
) -> None:
    """With --json only the summary is on standard output; every wait is counted once, as the rows have it."""
    system.start()

    process = demo("--runs", "12", "--json", **named(settings))

    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    waits = summary["waits"]
    assert waits["waits"] == 24 == len(system.rows("SELECT id FROM dependency WHERE done_at IS NOT NULL"))
    assert sum(waits[name] for name in ("called_off", "not_planned", "refused", "failed", "frozen")) == 24
    restored = system.rows("SELECT image_bytes FROM checkpoint WHERE restored_at > freed_at")
    assert waits["frozen"] == waits["restored"] == len(restored) > 0
    # Those whose task ended since their run was being frozen.
    assert waits["refused"] > 0
    assert summary["problems"] == []
    assert sum(latency["count"] for latency in summary["latency"].values()) == 21
    assert all(latency["p50_ms"] > 0 for latency in summary["latency"].values())
    assert summary["engine"] == engine
    assert waits["image_bytes"] == sum(row["image_bytes"] for row in restored)
    assert_memory_was_given_back(summary, engine)


def assert_memory_was_given_back(summary: Any, engine: str) -> None:
    """What was frozen held memory before, and meanwhile none if it was really frozen away."""
    memory, waits = summary["memory"], summary["waits"]
    before, frozen = memory["before_bytes"], memory["frozen_bytes"]
    if engine == "process":
        assert before > waits["frozen"] * 24e6
        # A freeze that was over between two looks counts as none; of a busy machine's there may be some.
        assert frozen < before
        assert waits["dump_bytes"] > 4 * waits["image_bytes"] > 0
    else:
        assert before > waits["frozen"] * 1e6
        # Its share of what it shares with others changes with their number.
        assert frozen > before / 4


def test_ctrl_c_ends_runs_that_work_wait_or_are_frozen(
    demo: Demo, system: System, settings: Settings, folder: Path
) -> None:
    """No process, no open wait, no image and no file is left."""
    system.start()
    process = demo("--runs", "20", **named(settings))
    wait_until(lambda: system.rows(FROZEN), seconds=SECONDS)

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "stopped; no process is left" in errors, output
    # One that was killed may take a moment to be gone.
    wait_until(lambda: processes_of(folder) == [])
    assert list(folder.iterdir()) == []
    assert system.rows("SELECT id FROM dependency WHERE resumed_at IS NULL AND cancelled_at IS NULL") == []
    wait_until(lambda: stored_in(settings) == [])


def test_a_run_that_is_restored_after_its_platforms_death_ends(
    demo: Demo, system: System, upstream: Upstream, settings: Settings, folder: Path
) -> None:
    """Nobody is left who would let it go on: it hears so as soon as it lives."""
    if "process" not in settings.engines:
        pytest.skip("one that only stands ends with its platform")
    system.start()
    process = demo("--runs", "24", **named(settings))
    wait_until(lambda: system.rows(FROZEN), seconds=SECONDS)

    process.kill()
    process.communicate()
    wait_until(lambda: processes_of(folder) == [])
    # A wait for a time ends by itself.
    for dependency_id in [row["id"] for row in system.rows(FROZEN_FOR_A_TASK)]:
        upstream.client.complete(Complete(v=1, dependency_id=dependency_id, outcome_type=OutcomeType.SUCCESS))

    wait_until(lambda: not system.rows(FROZEN) and processes_of(folder) == [])
    # An image goes after the commit that made it needless; that of a dump which its run's end cut short, by the agent.
    wait_until(lambda: stored_in(settings) == [])


@pytest.mark.parametrize("engine", ["simulate"], indirect=True)
def test_an_engine_that_the_workers_do_not_offer_is_told(demo: Demo, system: System, settings: Settings) -> None:
    """Asked for by name it is an error; else the demo goes on with what there is, and says why."""
    system.start()

    process = demo("--engine", "process", **named(settings))

    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "the workers offer simulate; CHECKPOINT_ENGINES names what they are to offer" in errors


@pytest.mark.parametrize("engine", ["simulate"], indirect=True)
def test_a_system_without_a_worker_is_told_at_once(demo: Demo, settings: Settings) -> None:
    """Nobody would take or restore a checkpoint: the message says what to do."""
    process = demo(**named(settings))

    _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 4
    assert f"no worker of the node {settings.node} was seen" in errors
    assert "checkpoints up" in errors


def test_wrong_settings_are_told_before_anything_starts(demo: Demo) -> None:
    """As by every command."""
    process = demo(CHECKPOINT_DELAY_TASK_MS="soon")

    output, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 2
    assert "CHECKPOINT_DELAY_TASK_MS" in errors
    assert "starting" not in output


def test_servers_that_do_not_start_say_why(demo: Demo) -> None:
    """What `checkpoints up` said is told."""
    process = demo(CHECKPOINT_BROKER_URL="redis://127.0.0.1:1/0")

    _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "did not become ready" in errors
    assert "Redis" in errors


def named(settings: Settings) -> dict[str, str]:
    """Return the environment that names the test's system."""
    return {name: value for name, value in environment_of(settings).items() if name.startswith(PREFIX)}

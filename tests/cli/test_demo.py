"""`checkpoints demo` as its user meets it: against servers of its own, or a system that is there already."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import processes_of
from system import System, environment_of
from waiting import wait_until

from shared.settings import PREFIX, Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are stopped and looked up in /proc")

SECONDS = 100  # far more than on an idle machine
Demo = Callable[..., subprocess.Popen[str]]


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


def test_it_starts_its_own_servers_and_proves_that_all_runs_went_on_once(demo: Demo, folder: Path) -> None:
    """From nothing to a summary, and nothing is left: no process, no ledger; the rows stay in the data folder."""
    process = demo("--runs", "6")

    output, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 0, output + errors
    for line in (
        "starting Postgres, Redis and the workers",
        "12  of 6 runs",
        "called off in the delay",
        "refused",
        "restored",
        "slot-seconds freed",
        "the engine `simulate` only pauses processes",
        "p50",
        "each of 12 waits went on exactly once, with its own result",
        "no row has work left to do",
        "FROM run_timeline WHERE run_id = 'demo-",
    ):
        assert line in output
    assert processes_of(folder) == []
    assert [one.name for one in folder.iterdir()] == ["data"]


def test_it_speaks_to_the_system_that_the_environment_names(demo: Demo, system: System, settings: Settings) -> None:
    """With --json only the summary is on standard output; every wait is counted once, as the rows have it."""
    # A slow dump: waits that end meanwhile are refused or revoked.
    system.start(CHECKPOINT_SIMULATE_COMMAND='["sleep", "0.5"]')

    process = demo("--runs", "6", "--json", **named(settings))

    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    waits = summary["waits"]
    assert waits["waits"] == 12 == len(system.rows("SELECT id FROM dependency WHERE done_at IS NOT NULL"))
    assert sum(waits[name] for name in ("called_off", "not_planned", "refused", "failed", "frozen")) == 12
    assert (
        waits["frozen"]
        == waits["restored"]
        == len(system.rows("SELECT id FROM checkpoint WHERE restored_at > freed_at"))
    )
    assert summary["problems"] == []
    assert sum(latency["count"] for latency in summary["latency"].values()) == 11


def test_ctrl_c_ends_runs_that_work_wait_or_stand(demo: Demo, system: System, settings: Settings, folder: Path) -> None:
    """No process and no open wait is left."""
    system.start()
    process = demo("--runs", "20", **named(settings))
    wait_until(lambda: system.rows("SELECT id FROM checkpoint WHERE freed_at IS NOT NULL AND restored_at IS NULL"))

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "stopped; no process is left" in errors, output
    # One that was killed may take a moment to be gone.
    wait_until(lambda: processes_of(folder) == [])
    assert system.rows("SELECT id FROM dependency WHERE resumed_at IS NULL AND cancelled_at IS NULL") == []


def test_a_system_without_a_worker_is_told_at_once(demo: Demo, settings: Settings) -> None:
    """Nobody would take or restore a checkpoint: the message says what to do."""
    process = demo(**named(settings))

    _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 4
    assert f"no worker of the node {settings.node} was seen" in errors
    assert "checkpoints up" in errors


def test_servers_that_do_not_start_say_why(demo: Demo) -> None:
    """What `checkpoints up` said is told."""
    process = demo(CHECKPOINT_DELAY_TASK_MS="soon")

    _, errors = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "did not become ready" in errors
    assert "CHECKPOINT_DELAY_TASK_MS" in errors


def named(settings: Settings) -> dict[str, str]:
    """Return the environment that names the test's system."""
    return {name: value for name, value in environment_of(settings).items() if name.startswith(PREFIX)}

"""`checkpoints health` and the files it reads: what is believed of a file, and what is not."""

import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from waiting import wait_until

from shared import heartbeat
from shared.errors import Misconfigured
from shared.heartbeat import STALE_SECONDS, Heartbeat
from shared.pulse import Finding
from shared.settings import Settings
from tests.health.conftest import AskHealth
from workers.cli.kinds import WorkerKind
from workers.heart import Heart

ROOT = Path(__file__).parents[2]
KIND = WorkerKind.RESUME
HEAVY = {"celery", "kombu", "redis", "psycopg", "pydantic", "structlog"}


def said(settings: Settings, *, pid: int | None = None, ago: float = 0, problems: list[str] | None = None) -> None:
    """Write a heartbeat of a process, by default of this one."""
    whose = pid or os.getpid()
    beat = Heartbeat(
        kind=KIND,
        pid=whose,
        started_at_ticks=heartbeat.started_at_ticks(whose) or 0,
        at=heartbeat.now() - timedelta(seconds=ago),
        alive=True,
        ready=not problems,
        problems=problems or [],
    )
    heartbeat.open_folder(settings.health_folder)
    heartbeat.write(settings.health_folder, beat)


def test_no_file_is_no_worker(ask: AskHealth, settings: Settings) -> None:
    """The answer says where one was looked for."""
    found = ask(KIND)

    assert (found.code, str(settings.health_folder) in found.problems) == (1, True)


@pytest.mark.parametrize("ago", [STALE_SECONDS + 1, -STALE_SECONDS - 30])
def test_a_living_process_whose_heart_stopped_is_not_well(ask: AskHealth, settings: Settings, ago: float) -> None:
    """A moment in the future is no news either: the clock was set back."""
    said(settings, ago=ago)

    assert (ask(KIND).code, "stale for" in ask(KIND).problems) == (1, True)


def test_a_pid_that_is_used_again_proves_nothing(ask: AskHealth, settings: Settings) -> None:
    """The start time tells the worker from the process that has its pid now."""
    said(settings)
    [path] = settings.health_folder.iterdir()
    path.write_text(path.read_text().replace(str(heartbeat.started_at_ticks(os.getpid())), "1"))

    assert ask(KIND).code == 1


def test_a_zombie_does_not_live(ask: AskHealth, settings: Settings) -> None:
    """It has a pid and its start time, and works no more."""
    with subprocess.Popen(["sleep", "600"]) as process:
        said(settings, pid=process.pid)
        assert ask(KIND).code == 0
        process.kill()
        wait_until(lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2][:3])

        assert ask(KIND).code == 1


def test_only_ready_asks_for_readiness(ask: AskHealth, settings: Settings) -> None:
    """What lives and waits is not started again: that would mend nothing."""
    said(settings, problems=["the drain of resumes: Postgres cannot be used for 3 s: refused"])

    assert (ask(KIND).code, ask(KIND, "--ready").code) == (0, 1)
    assert "Postgres cannot be used for 3 s" in ask(KIND, "--ready").problems


def test_half_a_file_and_files_of_others_are_nobody(ask: AskHealth, settings: Settings) -> None:
    """A kind's name at the beginning of another's does not mix them up."""
    said(settings)
    (settings.health_folder / "resume.1.json").write_text('{"kind": "resume", "pid')
    (settings.health_folder / "resume-er.7.json").write_text("{}")

    found = ask(KIND)

    assert (found.code, [one["pid"] for one in found.told["workers"]]) == (0, [os.getpid()])


def test_a_folder_that_others_can_write_is_refused(settings: Settings) -> None:
    """Anybody could make a dead worker look well."""
    settings.health_folder.mkdir()
    settings.health_folder.chmod(stat.S_IRWXU | stat.S_IRWXO)

    with pytest.raises(Misconfigured, match="CHECKPOINT_HEALTH_FOLDER"):
        Heart(KIND, settings.health_folder, [])


def test_a_heart_tells_the_problems_of_all_loops_each_once(settings: Settings, ask: AskHealth) -> None:
    """One loop that stands is enough for not alive; its file goes when it stops, and dead ones' go when it starts."""
    with subprocess.Popen(["sleep", "600"]) as process:
        said(settings, pid=process.pid)
        process.kill()
    fine, waits = Finding(turns=True, problem=None), Finding(turns=True, problem="a waits")
    heart = Heart(
        KIND,
        settings.health_folder,
        [lambda: fine, lambda: waits, lambda: waits, lambda: Finding(turns=False, problem="b stands")],
    )
    heart.start()
    wait_until(lambda: ask(KIND).told["workers"])

    found = ask(KIND)

    assert (found.code, found.problems.splitlines()) == (1, ["a waits", "b stands"])
    assert len(list(settings.health_folder.glob("*.json"))) == 1
    heart.stop()
    assert list(settings.health_folder.iterdir()) == []


def test_people_read_what_is_wrong(settings: Settings) -> None:
    """A line for each worker, and one for each problem."""
    said(settings, problems=["the node's agent stands still for 70 s"])
    environment = os.environ | {"CHECKPOINT_HEALTH_FOLDER": str(settings.health_folder)}

    command = [sys.executable, "-m", "workers.cli.main", "health", "--worker", KIND]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == f"resume {os.getpid()}: alive, not ready\n  the node's agent stands still for 70 s\n"


def test_it_starts_fast() -> None:
    """An orchestrator runs it every few seconds: nothing heavy is imported."""
    code = "import sys, workers.cli.main, workers.cli.health; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) & HEAVY == set()

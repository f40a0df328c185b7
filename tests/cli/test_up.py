"""`checkpoints up` with real servers and small workers: it keeps all alive, and leaves nothing behind."""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from processes import processes_of
from waiting import wait_until

from workers.cli.running import running
from workers.cli.supervise import short_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

STUB = Path(__file__).parent / "stub_up.py"
STOP_SECONDS = 20

# Says in files when it starts and, at its end, whether both servers were still there.
WORKER = """\
import os, pathlib, signal, socket, sys, time, urllib.parse
here = pathlib.Path(sys.argv[1])
def end(*_):
    for name in ("CHECKPOINT_DATABASE_URL", "CHECKPOINT_BROKER_URL"):
        url = urllib.parse.urlsplit(os.environ[name])
        socket.create_connection((url.hostname, url.port)).close()
    here.with_suffix(".ended").write_text("servers were there")
    sys.exit()
signal.signal(signal.SIGTERM, end)
with here.open("a") as file:
    file.write(f"{time.time()} {os.getpid()} {(here.parent / 'data' / 'prepared').exists()}\\n")
while True:
    signal.pause()
"""
STUBBORN = """\
import pathlib, signal, sys
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(one, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).write_text("started")
while True:
    signal.pause()
"""
CRASHER = """\
import sys, time
open(sys.argv[1], "a").write(f"{time.time()}\\n")
sys.exit(1)
"""


@dataclass(frozen=True, slots=True)
class Up:
    """A running `up` and its folder; the workers' marks lie beside it, named as the workers."""

    process: subprocess.Popen[str]
    data: Path

    def told(self) -> dict[str, str] | None:
        """Return `up.env` once it is there."""
        if self.process.poll() is not None:
            raise AssertionError(f"up ended with {self.process.returncode}: {self.process.communicate()}")
        return running(self.data)

    def wait_ready(self) -> dict[str, str]:
        """Wait for `up.env`."""
        wait_until(lambda: self.told() is not None)
        return self.told() or {}

    def end(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait for the end; return the exit code and what was printed."""
        self.process.send_signal(sign)
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        return self.process.returncode, output

    def starts(self, worker: str) -> list[list[str]]:
        """Return what a worker wrote at each of its starts."""
        mark = self.data.parent / worker
        return [line.split() for line in mark.read_text().splitlines()] if mark.exists() else []

    def is_gone(self) -> bool:
        """Return whether no process of it is left."""
        return processes_of(self.data) == []

    def find(self, part: str) -> int:
        """Return the process whose command has a part."""
        return next(one.pid for one in processes_of(self.data) if part in one.command)


StartUp = Callable[..., Up]


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[StartUp]:
    """Start an `up` with workers by name; whatever is left of it at the end is a failure."""
    started: list[Up] = []

    def start(workers: dict[str, str] | None = None, *, name: str = "one", ready_seconds: int = 60, **env: str) -> Up:
        parent = tmp_path / name
        parent.mkdir(exist_ok=True)
        lines: list[str] = []
        for worker, text in (workers or {"worker": WORKER}).items():
            script = parent / f"{worker}.py"
            script.write_text(text)
            lines.append(f"{worker}: {shlex.join(['python', str(script), str(parent / worker)])}\n")
        (parent / "Procfile").write_text("".join(lines))
        process = subprocess.Popen(
            [sys.executable, STUB, parent / "data", parent / "Procfile", str(ready_seconds)],
            env={key: value for key, value in os.environ.items() if not key.startswith("CHECKPOINT_")} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(Up(process, parent / "data"))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.end()
        if up.process.stdout is not None:
            up.process.stdout.close()
    wait_until(lambda: all(up.is_gone() for up in started))
    for up in started:
        # What an `up` that was killed leaves to the next one, which never comes here.
        shutil.rmtree(short_folder(up.data), ignore_errors=True)


def test_it_comes_up_and_tells_how_to_reach_it(start_up: StartUp) -> None:
    """`up.env` is private, plain, and names servers that answer; the workers started behind the migration."""
    up = start_up()

    told = up.wait_ready()

    assert stat.S_IMODE((up.data / "up.env").stat().st_mode) == 0o600
    assert list(told) == [
        "CHECKPOINT_DATABASE_URL",
        "CHECKPOINT_BROKER_URL",
        "CHECKPOINT_NODE",
        "CHECKPOINT_FLOWER_URL",
    ]
    with psycopg.connect(told["CHECKPOINT_DATABASE_URL"]) as conn:
        assert conn.execute("SELECT current_user::text, current_database()::text").fetchone() == (
            "checkpoints",
            "checkpoints",
        )
    assert [prepared for _, _, prepared in up.starts("worker")] == ["True"]
    secrets = [urlsplit(value).password for value in told.values() if "://" in value]
    commands = " ".join(one.command for one in processes_of(up.data))
    assert all(secret and secret not in commands for secret in secrets)
    _, output = up.end()
    assert not any(secret and secret in output for secret in secrets)
    assert "ready\n" in output


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_workers_first_and_servers_last(start_up: StartUp, sign: signal.Signals) -> None:
    """A worker that ends still finds both servers; then nothing is left, and that is success."""
    up = start_up()
    up.wait_ready()
    # The stub says so once it hears signals; on a busy machine that is later than `ready`.
    wait_until(lambda: up.starts("worker"))

    code, _ = up.end(sign)

    assert code == 0
    assert up.is_gone()
    assert not (up.data / "up.env").exists()
    assert (up.data.parent / "worker.ended").read_text() == "servers were there"


def test_a_worker_that_does_not_end_holds_up_the_stop_for_less_than_20_s(start_up: StartUp) -> None:
    """It is killed, and the servers still end in order."""
    up = start_up({"stubborn": STUBBORN, "worker": WORKER})
    up.wait_ready()

    began = time.monotonic()
    code, _ = up.end()

    assert code == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert up.is_gone()
    assert "database system is shut down" in (up.data / "logs" / "postgres.log").read_text()


def test_a_killed_worker_is_started_again(start_up: StartUp) -> None:
    """After 0.2 to 5 s it runs again."""
    up = start_up()
    up.wait_ready()
    pid = int(up.starts("worker")[0][1])

    os.kill(pid, signal.SIGKILL)
    killed = time.time()
    wait_until(lambda: len(up.starts("worker")) == 2)

    assert 0.2 <= float(up.starts("worker")[1][0]) - killed <= 5


def test_a_worker_in_a_crash_loop_is_started_for_ever_at_the_same_pace(start_up: StartUp) -> None:
    """Its tries neither grow apart nor end, nor come at once; `up` gives up and names it."""
    up = start_up({"crasher": CRASHER}, ready_seconds=8)

    output, _ = up.process.communicate(timeout=60)

    times = [float(start[0]) for start in up.starts("crasher")]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    # Gaps of 1, 2, 3 ... seconds, as Supervisor makes by itself, would be two here.
    assert len(gaps) >= 4
    assert all(0.2 <= gap <= 5 for gap in gaps)
    assert up.process.returncode == 1
    assert "not ready within 8 s: crasher" in output
    assert up.is_gone()


@pytest.mark.parametrize("server", ["bin/postgres -D", "valkey-server"])
def test_a_killed_server_comes_back_with_its_data(start_up: StartUp, server: str) -> None:
    """The address stays, so that workers reconnect by themselves."""
    up = start_up()
    told = up.wait_ready()
    with psycopg.connect(told["CHECKPOINT_DATABASE_URL"]) as conn:
        conn.execute("CREATE TABLE noted (value integer)")
    before = up.find(server)

    os.kill(before, signal.SIGKILL)

    wait_until(lambda: any(server in one.command and one.pid != before for one in processes_of(up.data)))
    wait_until(lambda: has_noted(told["CHECKPOINT_DATABASE_URL"]))
    assert len(up.starts("worker")) == 1


def has_noted(database_url: str) -> bool:
    """Return whether the server answers and has the table."""
    try:
        with psycopg.connect(database_url) as conn:
            return conn.execute("SELECT to_regclass('noted') IS NOT NULL").fetchone() == (True,)
    except psycopg.OperationalError:
        return False


def test_a_killed_up_leaves_no_process_and_its_folder_can_be_used_again(start_up: StartUp) -> None:
    """The next `up` may come at once, and goes on with the data."""
    first = start_up()
    told = first.wait_ready()
    with psycopg.connect(told["CHECKPOINT_DATABASE_URL"]) as conn:
        conn.execute("CREATE TABLE noted (value integer)")

    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert running(first.data) is None
    second = start_up()

    assert has_noted(second.wait_ready()["CHECKPOINT_DATABASE_URL"])
    second.end()
    assert second.is_gone()


def test_a_killed_up_leaves_no_process(start_up: StartUp) -> None:
    """Not even a worker that does not listen to signals."""
    up = start_up({"stubborn": STUBBORN})
    up.wait_ready()

    up.end(signal.SIGKILL)

    wait_until(up.is_gone, seconds=5)


def test_a_killed_supervisor_leaves_no_process_and_up_says_so(start_up: StartUp) -> None:
    """The servers and even a stubborn worker die with it, and `up` fails."""
    up = start_up({"stubborn": STUBBORN, "worker": WORKER})
    up.wait_ready()

    os.kill(up.find("supervisor.supervisord"), signal.SIGKILL)
    output, _ = up.process.communicate(timeout=STOP_SECONDS)

    assert up.process.returncode == 1
    assert "Supervisor ended by itself" in output
    assert not (up.data / "up.env").exists()
    wait_until(up.is_gone)


def test_a_second_up_on_the_same_folder_is_refused(start_up: StartUp) -> None:
    """The first is not touched, and the message says what to do."""
    first = start_up()
    told = first.wait_ready()

    second = start_up()
    output, _ = second.process.communicate(timeout=STOP_SECONDS)

    assert second.process.returncode == 1
    assert f"another `checkpoints up` (process {first.process.pid}) uses {first.data}" in output
    assert first.told() == told


def test_two_run_at_once_in_folders_of_any_name(start_up: StartUp) -> None:
    """A long path, blanks and per cent signs are no trouble, and nothing is shared."""
    names = ["with blank, 100 % and 'quote", "long" * 40]
    ups = [start_up(name=name) for name in names]

    told = [up.wait_ready() for up in ups]

    urls = [{value for value in one.values() if "://" in value} for one in told]
    assert urls[0].isdisjoint(urls[1])
    assert [up.end()[0] for up in ups] == [0, 0]


def test_servers_that_the_environment_names_are_used(start_up: StartUp) -> None:
    """Only what is missing is embedded."""
    first = start_up()
    told = first.wait_ready()
    names = ("CHECKPOINT_DATABASE_URL", "CHECKPOINT_BROKER_URL")

    second = start_up(name="two", **{name: told[name] for name in names}, CHECKPOINT_NODE="other")

    assert {name: second.wait_ready()[name] for name in names} == {name: told[name] for name in names}
    assert second.wait_ready()["CHECKPOINT_NODE"] == "other"
    assert not (second.data / "postgres").exists()
    assert not (second.data / "redis").exists()


def test_a_signal_before_all_is_ready_stops_it_too(start_up: StartUp) -> None:
    """Whatever was started by then is stopped."""
    up = start_up({"crasher": CRASHER})
    wait_until(lambda: up.starts("crasher"))

    assert up.end()[0] == 0
    assert up.is_gone()


def test_a_wrong_setting_is_told_before_any_worker_starts(start_up: StartUp) -> None:
    """Not by workers that end again and again."""
    up = start_up(CHECKPOINT_DELAY_TASK_MS="soon")

    output, _ = up.process.communicate(timeout=STOP_SECONDS)

    assert up.process.returncode == 1
    assert "CHECKPOINT_DELAY_TASK_MS" in output
    assert up.starts("worker") == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:1/0", "Redis cannot be used"),
        ("redis://me:hunter2@127.0.0.1:x/0", "CHECKPOINT_BROKER_URL is no address of a Redis"),
    ],
)
def test_a_redis_that_does_not_exist_is_said_at_once(url: str, says: str, tmp_path: Path) -> None:
    """Before any worker is started that would end again and again."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli.main", "up", "--data", str(tmp_path / "data")],
        env=os.environ | {"CHECKPOINT_BROKER_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode in {2, 4}
    assert says in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert not (tmp_path / "data" / "up.env").exists()


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    """It says so, and what to choose."""
    (tmp_path / "data").touch()
    argv = [sys.executable, "-m", "workers.cli.main", "up", "--data", str(tmp_path / "data")]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "cannot be the data folder: File exists; choose another with --data" in done.stderr

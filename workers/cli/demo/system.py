"""The system that a demo speaks to: the one that the environment or the data folder names, else one of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.db.readiness import node_was_seen
from shared.errors import DeferredCheckpointError, Unreachable
from shared.settings import Settings
from workers.cli import child
from workers.cli.demo.plan import DELAY_MS, THRESHOLD_MS
from workers.cli.running import running
from workers.cli.servers import launcher
from workers.cli.target import target_settings
from workers.cli.up import DATABASE_URL, FLOWER_URL, READY_SECONDS, SIGNALS, STOP_SECONDS, masked

POLL_SECONDS: Final = 0.05
# What own servers have beside what the environment says. A dump takes as long as a small one would.
OWN_SETTINGS: Final = {
    "CHECKPOINT_DELAY_TASK_MS": str(DELAY_MS),
    "CHECKPOINT_DURATION_THRESHOLD_MS": str(THRESHOLD_MS),
    "CHECKPOINT_SIMULATE_COMMAND": '["sleep", "0.1"]',
}

Say = Callable[[str], None]


class UpFailed(DeferredCheckpointError):
    """The servers or workers that the demo started did not become ready."""

    code = "up-failed"


@contextmanager
def a_system(data: Path, say: Say) -> Generator[Settings]:
    """Have a system whose workers run; one that the demo starts is stopped in the end.

    Raises:
        Unreachable: The system that the environment names has no worker on this node.
        UpFailed: Own servers or workers did not become ready.
        Misconfigured: Some settings are wrong.
    """
    if is_named(data):
        where = "the environment" if os.environ.get(DATABASE_URL) else data / "up.env"
        settings = target_settings(data)
        require_worker(settings)
        say(f"using the system that {where} names")
        yield settings
        return
    say(f"starting Postgres, Redis and the workers (`checkpoints up --data {data}`) ...")
    began = time.monotonic()
    with own_up(data):
        settings = target_settings(data)
        flower = masked(os.environ[FLOWER_URL])
        say(f"ready after {time.monotonic() - began:.1f} s; Flower meanwhile: {flower} (password: {data / 'up.env'})")
        yield settings
        say("stopping the workers and servers ...")


def is_named(data: Path) -> bool:
    """Return whether the environment or the data folder names a system."""
    return bool(os.environ.get(DATABASE_URL)) or running(data) is not None


def require_worker(settings: Settings) -> None:
    """Return if a worker of this node was seen.

    Raises:
        Unreachable: None was; nobody would take or restore a checkpoint.
    """
    url = settings.database_url.get_secret_value()
    if not node_was_seen(url, node=settings.node, seconds=settings.node_silent_ms / 1000):
        raise Unreachable(
            f"no worker of the node {settings.node} was seen in the Postgres that {DATABASE_URL} names; "
            f"run `checkpoints up` with the same environment first, or unset {DATABASE_URL}."
        )


@contextmanager
def own_up(data: Path) -> Generator[None]:
    """Have a `checkpoints up` as a child; it stops with the block, or by itself if this process dies."""
    with tempfile.TemporaryFile("w+") as output:
        # A signal between the start and the assignment would leave a child that nobody waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        process = subprocess.Popen(
            [*launcher(death=signal.SIGTERM), sys.executable, "-m", "workers.cli.main", "up", "--data", str(data)],
            env={**OWN_SETTINGS, **os.environ, child.PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for the demo, which stops its runs first.
            start_new_session=True,
        )
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _wait_ready(process, data)
            yield
        except _Ended:
            output.seek(0)
            raise UpFailed(f"`checkpoints up --data {data}` did not become ready:\n{output.read().strip()}") from None
        finally:
            _stop(process)


class _Ended(Exception):
    """It ended before it was ready, or was not ready in time."""


def _wait_ready(process: subprocess.Popen[bytes], data: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while running(data) is None:
        if process.poll() is not None or time.monotonic() >= deadline:
            raise _Ended
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS + 1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

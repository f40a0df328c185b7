"""The worker processes of the Procfile, as tests start, kill and watch them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from waiting import wait_until

from shared.settings import PREFIX, Settings
from workers.cli.kinds import WorkerKind

READY_SECONDS = 60
ALL = (WorkerKind.CHECKPOINT, WorkerKind.RESUME, WorkerKind.SWEEPER)


class System:
    """Real worker processes on a test's settings.

    Args:
        settings: Of the test's own database, prefix and node.
        logs: Folder of their logs, shown when a test fails.
        tree: The source that they run; None: this one.
    """

    def __init__(self, settings: Settings, logs: Path, tree: Path | None = None) -> None:
        self.settings = settings
        self._logs = logs
        self._tree = tree
        self._processes: dict[WorkerKind, list[subprocess.Popen[bytes]]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, *kinds: WorkerKind, **environment: str) -> None:
        """Start workers (all kinds if none is named), and wait until each does its work.

        Args:
            kinds: Which.
            **environment: More for their environment, for example FAIL_AT.
        """
        chosen = kinds or ALL
        started = [self._start(kind, environment) for kind in chosen]
        for kind, process, log in started:
            wait_until(lambda log=log, kind=kind, process=process: _is_ready(kind, process, log), seconds=READY_SECONDS)
        if WorkerKind.CHECKPOINT in chosen:
            wait_until(self.node_is_seen)

    def spawn(self, *kinds: WorkerKind) -> None:
        """Start workers (all kinds if none is named), without waiting until they do their work."""
        for kind in kinds or ALL:
            self._start(kind, {})

    def kill(self, kind: WorkerKind) -> None:
        """Kill -9 every worker of a kind."""
        for process in self._processes.pop(kind, []):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self, kind: WorkerKind) -> None:
        """Have every worker of a kind end by itself, and wait for it."""
        for process in self._processes.pop(kind, []):
            process.terminate()
            assert process.wait(timeout=READY_SECONDS) == 0

    def kill_all(self) -> None:
        """Kill -9 all that runs."""
        for kind in list(self._processes):
            self.kill(kind)

    def processes(self, kind: WorkerKind) -> list[subprocess.Popen[bytes]]:
        """Return the processes of a kind."""
        return self._processes.get(kind, [])

    def node_is_seen(self) -> bool:
        """Return whether the node's agent has reported in time."""
        silent = self.settings.node_silent_ms
        rows = self.rows(
            "SELECT name FROM node WHERE name = %s AND seen_at > now() - %s * interval '1 ms'",
            self.settings.node,
            silent,
        )
        return bool(rows)

    def logged(self, *words: str) -> list[str]:
        """Return the lines of all logs in which all of these words stand."""
        lines = [line for log in self._logs.iterdir() for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if all(word in line for word in words)]

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query on the test's database."""
        with psycopg.connect(self.settings.database_url.get_secret_value()) as conn:
            cursor = conn.cursor(row_factory=dict_row)
            return cursor.execute(query.encode(), values).fetchall()

    def _start(self, kind: WorkerKind, environment: dict[str, str]) -> tuple[WorkerKind, subprocess.Popen[bytes], Path]:
        log = self._logs / f"{kind}-{len(self._processes.get(kind, []))}-{os.urandom(2).hex()}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", "worker", kind],
                env=environment_of(self.settings) | environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._tree,
            )
        self._processes.setdefault(kind, []).append(process)
        return kind, process, log


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment in which a process has these settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        secret = getattr(value, "get_secret_value", None)
        text = secret() if secret else json.dumps(value) if isinstance(value, list | dict) else str(value)
        own[PREFIX + name.upper()] = text
    return own


def _is_ready(kind: WorkerKind, process: subprocess.Popen[bytes], log: Path) -> bool:
    text = log.read_text(encoding="utf-8", errors="replace")
    assert process.poll() is None, f"{kind} ended with {process.returncode}:\n{text}"
    return ("sweeper.started" if kind is WorkerKind.SWEEPER else "ready.") in text

"""Which processes a test has running, read from /proc."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A running process."""

    pid: int
    command: str


def processes_of(folder: Path) -> list[Process]:
    """Return the processes that work in a folder, name it in their command or have it in their environment."""
    return [process for process in _all() if _belongs(process, os.fsencode(folder))]


def commands_in(folder: Path) -> list[Process]:
    """Return the processes of the engine's program; the workers name its folder in their settings."""
    return [process for process in processes_of(folder) if "workers.cli" not in process.command]


def _all() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            command = _read(entry / "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
            # A zombie has no command: it is dead, only its parent has not asked yet.
            if command:
                yield Process(int(entry.name), command)


def _belongs(process: Process, folder: bytes) -> bool:
    entry = Path("/proc") / str(process.pid)
    try:
        works_in = os.fsencode(entry.joinpath("cwd").readlink())
    except OSError:
        works_in = b""
    return (
        works_in.startswith(folder)
        or folder in process.command.encode(errors="replace")
        or folder in _read(entry / "environ")
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

"""The cgroups of a process, as far as this machine shows them: which processes live there."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workers.engines import processes
from workers.engines.processes import Process

MOUNT: Final = Path("/sys/fs/cgroup")


def folders(process: Process) -> Iterator[tuple[str, Path]]:
    """Yield a controller's name and the folder of the process' cgroup there; in the second version the name is empty.

    Never that of the whole machine, and none that cannot be seen from here.
    """
    for line in processes.cgroups_of(process).splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            folder = MOUNT / name.removeprefix("name=") / path.lstrip("/")
            if path != "/" and folder.is_dir():
                yield name, folder


def members(process: Process, *, container: str) -> list[Process] | None:
    """Return all processes of the container that a process lives in, those of cgroups below its own included.

    Args:
        process: Any process of it, for example its first.
        container: The id that names its cgroups.

    Returns:
        Those that have not ended; None where its cgroups cannot be seen.
    """
    folder = next((folder for _, folder in folders(process) if container in folder.name), None)
    if folder is None:
        return None
    pids = {pid for below, _, _ in os.walk(folder) for pid in _pids(Path(below))}
    stats = {pid: processes.read_stat(processes.PROC / str(pid)) for pid in pids}
    found = [Process(pid, stat.started_at_ticks) for pid, stat in stats.items() if stat]
    return list(filter(processes.is_alive, found))


def _pids(folder: Path) -> list[int]:
    try:
        return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENODEV}:
            return []  # it is gone
        raise

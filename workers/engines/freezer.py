"""The freezer of a process' cgroup, of the first version of cgroups; a runtime freezes containers by it."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from workers.engines import processes
from workers.engines.processes import Process

MOUNT: Final = Path("/sys/fs/cgroup/freezer")
THAWED: Final = "THAWED"


def freezer_of(process: Process) -> Path | None:
    """Return the file that freezes and thaws a process' cgroup; None where there is none, or it is gone."""
    for line in processes.cgroups_of(process).splitlines():
        _, controllers, path = line.split(":", 2)
        file = MOUNT / path.lstrip("/") / "freezer.state"
        # Never that of the whole machine.
        if "freezer" in controllers.split(",") and path != "/" and file.exists():
            return file
    return None


def is_frozen(process: Process) -> bool:
    """Whether its cgroup keeps a process still, or is about to."""
    file = freezer_of(process)
    with suppress(FileNotFoundError):
        return file is not None and file.read_text().strip() != THAWED
    return False


def thaw_cgroup(process: Process) -> None:
    """Thaw a process' cgroup; one that is not frozen, or gone, is ignored."""
    if is_frozen(process) and (file := freezer_of(process)) is not None:
        with suppress(FileNotFoundError):
            file.write_text(THAWED)

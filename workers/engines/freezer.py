"""The freezer of a process' cgroup, of the first version of cgroups; a runtime freezes containers by it."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from workers.engines import cgroups
from workers.engines.processes import Process

THAWED: Final = "THAWED"


def freezer_of(process: Process) -> Path | None:
    """Return the file that freezes and thaws a process' cgroup; None where there is none, or it is gone."""
    files = [folder / "freezer.state" for controller, folder in cgroups.folders(process) if controller == "freezer"]
    return next((file for file in files if file.exists()), None)


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

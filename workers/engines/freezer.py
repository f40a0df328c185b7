"""The freezer of a process' cgroup, of the first version of cgroups; a runtime freezes containers by it."""

from contextlib import suppress
from pathlib import Path
from typing import Final

from workers.engines import processes

MOUNT: Final = Path("/sys/fs/cgroup/freezer")
THAWED: Final = "THAWED"


def freezer_state(pid: int, *, anyway: bool = False) -> Path | None:
    """Return the file that freezes and thaws a process' cgroup, if it is frozen; None where there is no such cgroup.

    Args:
        pid: The process.
        anyway: Return it also when the cgroup is not frozen.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in (processes.PROC / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            file = MOUNT / path.lstrip("/") / "freezer.state"
            # Never that of the whole machine.
            if "freezer" in controllers.split(",") and path != "/" and file.exists():
                return file if anyway or file.read_text().strip() != THAWED else None
    return None


def thaw_cgroup(pid: int) -> None:
    """Thaw a process' cgroup; one that is not frozen, or gone, is ignored."""
    with suppress(FileNotFoundError, ProcessLookupError):
        file = freezer_state(pid)
        if file is not None:
            file.write_text(THAWED)

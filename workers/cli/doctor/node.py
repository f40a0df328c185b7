"""This machine: its lock folder."""

import fcntl
import os
import tempfile

from shared.settings import Settings
from workers.cli.doctor.line import Line, Verdict


def lock_folder(settings: Settings) -> Line:
    """Say whether locks can be taken where the workers take them."""
    folder = settings.lock_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as mine:
        second = os.open(f"/proc/self/fd/{mine.fileno()}", os.O_RDWR)
        try:
            fcntl.flock(mine, fcntl.LOCK_EX)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Line("lock folder", Verdict.OK, str(folder))
        finally:
            os.close(second)
    return Line(
        "lock folder", Verdict.FAIL, f"{folder} takes no locks", "Set CHECKPOINT_LOCK_FOLDER to a local file system."
    )

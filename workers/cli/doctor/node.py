"""This machine: its lock folder, and whether each engine that it offers can work here."""

import fcntl
import os
import tempfile
from collections.abc import Callable
from typing import Final

from shared.errors import EngineUnsupported
from shared.settings import Settings
from workers.cli.doctor.line import Line, Verdict
from workers.engines.available import engine_for, offered_engines


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


def engines(settings: Settings) -> Line:
    """Say whether each engine that the settings name works here.

    Raises:
        Misconfigured: A name is no engine's.
    """
    offered = offered_engines(settings)
    if not offered:
        return Line("engines", Verdict.WARN, "none", "This node takes no checkpoints; name some in CHECKPOINT_ENGINES.")
    for name in offered:
        try:
            engine_for(name, settings).probe()
        except EngineUnsupported as error:
            return Line(f"engine {name}", Verdict.FAIL, error.message)
    return Line("engines", Verdict.OK, ", ".join(offered))


NODE_CHECKS: Final[tuple[tuple[str, Callable[[Settings], Line]], ...]] = (
    ("lock folder", lock_folder),
    ("engines", engines),
)

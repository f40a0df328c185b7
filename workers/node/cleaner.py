"""Removing what was left in the node's folders of work: the net under every claim's own cleaning.

A claim removes its own files, and whoever comes after a dead worker removes them by the row. What still lies here
after a long time belongs to nobody: its database is gone, or a machine lost its power in between.
"""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from shared.settings import Settings
from workers.engines.restored import ClaimFolder

log = structlog.get_logger(__name__)


class Kept(StrEnum):
    """Why an entry was not removed."""

    YOUNG = "young"
    IN_USE = "in-use"
    FAILED = "failed"


@dataclass(slots=True)
class Cleaner:
    """Removes old entries of the folders of work, once in a while.

    Args:
        settings: The folders, how old, how often.
    """

    settings: Settings
    _next: float = 0.0

    def clean_if_due(self) -> None:
        """Clean if the period is over since the last time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.settings.clean_period_ms / 1000
        removed, kept = clean(self.settings)
        if removed or kept[Kept.FAILED]:
            log.info("folder.cleaned", removed=removed, kept={str(why): count for why, count in kept.items()})


def clean(settings: Settings) -> tuple[int, Counter[Kept]]:
    """Remove what is old; return how many entries that were, and of the others how many for which reason."""
    removed, kept = 0, Counter[Kept]()
    for entry in _entries(settings):
        why = _why_kept(entry, before=time.time() - settings.clean_age_ms / 1000)
        if why is None:
            removed += 1
        else:
            kept[why] += 1
    return removed, kept


def _entries(settings: Settings) -> Iterator[Path]:
    """Yield the entries of each folder that is there; the notes of connections lie one folder deeper."""
    work = settings.work_folder
    for folder in dict.fromkeys([work, work / "connections", *settings.clean_folders]):
        if folder.is_dir():
            yield from (entry for entry in sorted(folder.iterdir()) if entry != work / "connections")


def _why_kept(entry: Path, *, before: float) -> Kept | None:
    """Remove an entry unless there is a reason not to; return that. A link is removed, never followed."""
    try:
        if entry.lstat().st_mtime >= before:
            return Kept.YOUNG
        if entry.is_dir() and not entry.is_symlink():
            # By its record whoever comes next finds the process that was restored here.
            if ClaimFolder(entry).process() is not None:
                return Kept.IN_USE
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    except FileNotFoundError:
        pass  # its claim was quicker
    except OSError as error:
        log.warning("folder.uncleaned", path=str(entry), error=str(error))
        return Kept.FAILED
    return None

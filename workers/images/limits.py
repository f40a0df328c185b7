"""How large an image may be: checked when it is stored, so that whatever was accepted can be restored."""

from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from shared.errors import EngineUnavailable, ImageRefused
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one image: files, bytes unpacked, and how often an archive's bytes those may be."""

    files: int
    size: int
    ratio: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return those of the settings."""
        return cls(settings.image_files_max, settings.image_bytes_max, settings.image_ratio_max)

    def check(self, name: str, *, files: int, size: int, archive: int) -> None:
        """Refuse an image that is above a limit.

        Args:
            name: The image's.
            files: How many it has.
            size: Its bytes, unpacked.
            archive: Its bytes as stored.

        Raises:
            ImageRefused: It is; the message names the setting.
        """
        for value, limit, what, setting in (
            (files, self.files, "files", "FILES"),
            (size, self.size, "bytes", "BYTES"),
            (size // max(archive, 1), self.ratio, "times its stored size", "RATIO"),
        ):
            if value > limit:
                raise ImageRefused(
                    f"image {name} has {value} {what} unpacked; at most {limit} are expected "
                    f"(CHECKPOINT_IMAGE_{setting}_MAX).",
                    name=name,
                )


def expect_free(folder: Path, size: int, *, reserve: int) -> None:
    """Return if a folder's disk has room for so many bytes and keeps its reserve.

    Raises:
        EngineUnavailable: It has not.
    """
    free = disk_usage(folder).free
    if free < size + reserve:
        raise EngineUnavailable(
            f"{folder} has {free} bytes free; {size} are needed, and {reserve} are kept (CHECKPOINT_FREE_BYTES_MIN). "
            "Free some, or set CHECKPOINT_WORK_FOLDER to a larger disk.",
            free=free,
            needed=size,
        )

"""Folders that only this user may write to: whoever could put a file there could lock a run out, or run code."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import EngineUnavailable, Misconfigured

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def private_folder(folder: Path, *, setting: str) -> Generator[int]:
    """Open a folder, made if need be; yields its descriptor.

    Args:
        folder: Its path.
        setting: The setting that names it, for messages.

    Raises:
        EngineUnavailable: It cannot be made or opened, or it is a link.
        Misconfigured: Others could put files into it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder_fd = os.open(folder, FOLDER_FLAGS)
    except OSError as error:
        raise EngineUnavailable(
            f"the folder {folder} cannot be opened: {error.strerror}. "
            f"Expected a folder of this user, no link; set {setting} to one.",
            folder=str(folder),
        ) from error
    try:
        status = os.fstat(folder_fd)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Misconfigured(
                f"the folder {folder} belongs to user {status.st_uid} with mode "
                f"{stat.S_IMODE(status.st_mode):o}; expected user {os.geteuid()} and mode 700. "
                f"Set {setting} to a folder that only the workers' user can write.",
                folder=str(folder),
            )
        yield folder_fd
    finally:
        os.close(folder_fd)

"""The program criu for tests: the one that is named, on the PATH, or made by `make criu`."""

import os
import shutil
from functools import cache
from pathlib import Path

from shared.errors import EngineUnsupported
from shared.settings import Settings
from workers.engines.criu import Criu

MADE_HERE = Path(__file__).parents[1] / ".criu" / "bin" / "criu"


def criu_path() -> str:
    """Return where criu should be."""
    named = os.environ.get("CHECKPOINT_CRIU_PATH") or shutil.which("criu")
    return named or str(MADE_HERE)


@cache
def why_not_criu() -> str | None:
    """Return why criu does not work on this machine; None: it does."""
    try:
        Criu(criu_path(), "close", 60).check()
    except EngineUnsupported as error:
        return error.message
    return None


def with_criu(settings: Settings, folder: Path, *, script: str = 'exec "$CRIU" "$@"') -> Settings:
    """Return settings with which a node offers the engine `process`.

    Args:
        settings: Of the test's system.
        folder: For a shell script in criu's place.
        script: What it does; the real one is `$CRIU`.
    """
    path = folder / "criu"
    path.write_text(f'#!/bin/sh\nCRIU="{criu_path()}"\n{script}\n')
    path.chmod(0o755)
    return settings.model_copy(update={"engines": "process", "criu_path": str(path)})


def stored_in(settings: Settings) -> list[str]:
    """Return the names of the images in a system's store, and of the claims at work on its node."""
    folders = (Path(settings.image_store.removeprefix("file://")), settings.work_folder)
    return sorted(path.name for folder in folders if folder.exists() for path in folder.iterdir())

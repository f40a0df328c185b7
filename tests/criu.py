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


def with_criu(settings: Settings) -> Settings:
    """Return settings with which the engine `process` works here."""
    return settings.model_copy(update={"criu_path": criu_path()})

"""What a demo's own system freezes runs with: `process` where CRIU works here, else `simulate`, and why."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from shared.errors import EngineUnsupported
from shared.settings import PREFIX, read_settings
from shared.vocabulary import EngineName
from workers.engines.process import ProcessEngine

ENGINES, CRIU_PATH, CONCURRENCY = f"{PREFIX}ENGINES", f"{PREFIX}CRIU_PATH", f"{PREFIX}TAKE_CONCURRENCY"
# Where `make criu` puts it, beside the folder of the package.
MADE_HERE: Final = Path(__file__).parents[3] / ".criu" / "bin" / "criu"
PROGRAMS: Final = ("unshare", "setsid")
# Two cores pack and unpack no more at once without holding up all else.
AT_ONCE: Final = 6
REMEDY: Final = "`make criu`, as root on Linux, may mend that"


class Wanted(StrEnum):
    """The engine that the user of a demo asks for."""

    AUTO = "auto"
    PROCESS = "process"
    SIMULATE = "simulate"


@dataclass(frozen=True, slots=True)
class Means:
    """What own workers are to offer.

    Args:
        environment: Of the system, beside what the user's says.
        why_not: Why they do not offer `process`; None: they do.
    """

    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    why_not: str | None = None


def own_means(wanted: Wanted) -> Means:
    """Return what own workers are to offer: `process` where it works, unless something else is wanted.

    Raises:
        EngineUnsupported: `process` was asked for, and does not work here.
        Misconfigured: Some settings are wrong.
    """
    if wanted is Wanted.SIMULATE:
        return Means({ENGINES: EngineName.SIMULATE})
    criu = os.environ.get(CRIU_PATH) or (str(MADE_HERE) if MADE_HERE.exists() else "criu")
    settings = read_settings()
    try:
        with tempfile.TemporaryDirectory(prefix="checkpoints-probe-") as folder:
            tried = {"criu_path": criu, "work_folder": Path(folder) / "work"}
            ProcessEngine(settings.model_copy(update=tried)).probe()
    except EngineUnsupported as error:
        if wanted is Wanted.PROCESS:
            raise
        return Means({ENGINES: EngineName.SIMULATE}, f"{error.message.rstrip('.')} ({REMEDY})")
    return Means({ENGINES: f"{EngineName.PROCESS},{EngineName.SIMULATE}", CRIU_PATH: criu, CONCURRENCY: str(AT_ONCE)})


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine of a demo's runs.

    Args:
        engine: Its name.
        why_not: Why it is not `process`; None: it is.
    """

    engine: EngineName
    why_not: str | None = None


def choose(wanted: Wanted, offered: Sequence[str], *, why_not: str | None) -> Choice:
    """Return the engine of the runs: `process` where it is offered, unless something else is wanted.

    Args:
        wanted: What the user asks for.
        offered: What the node's workers offer.
        why_not: Why they do not offer `process`, if that is known.

    Raises:
        EngineUnsupported: They do not offer what is wanted.
    """
    if wanted is Wanted.SIMULATE:
        why_not = "so you asked"
    elif EngineName.PROCESS in offered:
        why_not = _why_no_namespaces()
        if why_not is None:
            return Choice(EngineName.PROCESS)
    why_not = why_not or f"the workers offer {', '.join(offered) or 'none'}; {ENGINES} names what they are to offer"
    if wanted is Wanted.PROCESS or EngineName.SIMULATE not in offered:
        raise EngineUnsupported(f"the demo has no engine: {why_not}.", offered=list(offered))
    return Choice(EngineName.SIMULATE, why_not)


def _why_no_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "runs are started in pid namespaces of their own, which takes root"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"{missing[0]} of util-linux is not installed" if missing else None

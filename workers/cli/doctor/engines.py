"""The engines of this node: does each work, with which tool, and what do the kernel or our rights forbid it."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.errors import EngineError, EngineUnsupported, Misconfigured
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.cli.doctor.line import Line, Verdict
from workers.engines.available import engine_for, offered_engines
from workers.engines.containers import Daemon
from workers.engines.criu import Criu

# linux/capability.h
SYS_ADMIN, SYS_RESOURCE, CHECKPOINT_RESTORE = 21, 24, 40
# Each by name: which of them are enough, and what to do where none is held.
NEEDED: Final = {
    "CAP_CHECKPOINT_RESTORE": (
        {CHECKPOINT_RESTORE, SYS_ADMIN},
        "Nothing can be dumped: start the checkpoint worker as root, or with this capability.",
    ),
    "CAP_SYS_RESOURCE": (
        {SYS_RESOURCE},
        "Runs of another user cannot be dumped: start them as the checkpoint worker's, or that with this capability.",
    ),
}
STATUS: Final = Path("/proc/self/status")


def engine_lines(settings: Settings) -> Iterator[Line]:
    """Say of each engine that the settings name whether it works here, and with what.

    Raises:
        Misconfigured: A name is no engine's.
    """
    offered = offered_engines(settings)
    if not offered:
        yield Line("engines", Verdict.WARN, "none", "This node takes no checkpoints; name some in CHECKPOINT_ENGINES.")
    for name in offered:
        try:
            engine_for(name, settings).probe()
        except (EngineError, Misconfigured) as error:
            yield Line(f"engine {name}", Verdict.FAIL, error.message)
        else:
            yield _working(name, settings)
        if name is EngineName.PROCESS and STATUS.exists():
            yield from criu_lines(settings, STATUS.read_text())


def criu_lines(settings: Settings, status: str) -> Iterator[Line]:
    """Say which criu there is, and what of this machine it lacks.

    Args:
        settings: Where criu is.
        status: Of our own process, as /proc has it.
    """
    criu = Criu(settings.criu_path, settings.process_tcp, settings.engine_timeout_ms / 1000)
    # Where there is no criu, its engine's line tells of it.
    with suppress(EngineUnsupported):
        yield Line("criu", Verdict.OK, f"{criu.version()}, {shutil.which(criu.path)}")
        # No warning: no dump of ours asks for it. It explains what `criu check --all` says.
        has_it = criu.tracks_memory()
        yield Line("kernel", Verdict.OK, f"{'' if has_it else 'no '}soft-dirty tracking; every dump is a whole one")
    yield from rights(status)


def rights(status: str) -> Iterator[Line]:
    """Say which capabilities are missing, each in a line of its own.

    Args:
        status: A process' own, as /proc has it.
    """
    held = _capabilities(status)
    missing = [name for name, (enough, _) in NEEDED.items() if not held & enough]
    for name in missing:
        yield Line("rights", Verdict.WARN, f"{name} is missing", NEEDED[name][1])
    if not missing:
        yield Line("rights", Verdict.OK, "all that criu needs")


def _working(name: EngineName, settings: Settings) -> Line:
    match name:
        case EngineName.SIMULATE:
            return Line("engine simulate", Verdict.OK, "works; it stops processes, and gives no memory back")
        case EngineName.DOCKER:
            info = Daemon().info()
            found = f"works, Docker {info.get('ServerVersion')}"
            if settings.docker_mode != "pause" and not info.get("ExperimentalBuild"):
                return Line(
                    "engine docker",
                    Verdict.WARN,
                    f"{found}; it pauses containers, and gives no memory back",
                    'Set "experimental": true in its daemon.json and put criu on its PATH; '
                    "or say that it is meant so: CHECKPOINT_DOCKER_MODE=pause.",
                )
            return Line("engine docker", Verdict.OK, found)
        case EngineName.PROCESS | EngineName.CRI:
            return Line(f"engine {name}", Verdict.OK, "works")


def _capabilities(status: str) -> set[int]:
    """Return the numbers of the capabilities that are in force."""
    lines = (line.partition(":") for line in status.splitlines())
    mask = next((int(value, 16) for name, _, value in lines if name == "CapEff"), 0)
    return {number for number in range(mask.bit_length()) if mask >> number & 1}

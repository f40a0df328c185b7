"""Which engines this node offers."""

import structlog

from shared.errors import EngineError, EngineUnsupported, Misconfigured
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.engines.cri import CriEngine
from workers.engines.docker import DockerEngine
from workers.engines.engine import Engine
from workers.engines.process import ProcessEngine
from workers.engines.simulate import Simulate

log = structlog.get_logger(__name__)


def offered_engines(settings: Settings) -> tuple[EngineName, ...]:
    """Return the engines that the settings name, each once, in their order.

    Raises:
        Misconfigured: A name is no engine's.
    """
    names = dict.fromkeys(word for word in map(str.strip, settings.engines.split(",")) if word)
    unknown = sorted(set(names) - set(EngineName))
    if unknown:
        raise Misconfigured(
            f"CHECKPOINT_ENGINES names {', '.join(unknown)}; expected some of {', '.join(EngineName)}.",
            unknown=unknown,
        )
    return tuple(EngineName(name) for name in names)


def usable_engines(settings: Settings) -> tuple[EngineName, ...]:
    """Return the engines that the settings name and that work on this node; log why another does not.

    Raises:
        Misconfigured: A name is no engine's.
    """
    usable: list[EngineName] = []
    for name in offered_engines(settings):
        try:
            engine_for(name, settings).probe()
        except EngineError as error:
            log.warning("engine.unusable", engine=str(name), problem=error.message)
        else:
            usable.append(name)
    return tuple(usable)


def engine_for(name: EngineName, settings: Settings) -> Engine:
    """Return the engine, ready for use.

    Raises:
        EngineUnsupported: This node does not offer it.
    """
    if name in offered_engines(settings):
        match name:
            case EngineName.SIMULATE:
                return Simulate(settings.simulate_command, seconds=settings.engine_timeout_ms / 1000)
            case EngineName.PROCESS:
                return ProcessEngine(settings)
            case EngineName.DOCKER:
                return DockerEngine(settings)
            case EngineName.CRI:
                return CriEngine(settings)
    raise EngineUnsupported(
        f"this node has no engine {name}; it offers {settings.engines or 'none'}. "
        "Name its engines in CHECKPOINT_ENGINES, or send the workload's own node.",
        engine=str(name),
    )

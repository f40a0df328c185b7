"""Freezing a workload and storing its image: what the engine does between a claim and its offer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

import structlog

from shared.db.checkpoints import Claim
from shared.errors import EngineError
from shared.seam import effect
from workers.engines.engine import Engine, Image
from workers.node.lock import NodeLock
from workers.node.node import Node

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that was stored, and how long each phase took, in milliseconds."""

    image: Image
    phases: dict[str, int]
    engine: Engine

    def discard(self) -> None:
        """Remove the image that nobody accepted: by its own epoch's name, so never another's."""
        try:
            self.engine.discard(self.image.location)
        except EngineError as error:
            log.warning("image.left-behind", location=self.image.location, error=error.message)


def freeze_and_store(node: Node, claim: Claim, *, lock: NodeLock, stop: Event) -> Stored:
    """Freeze the workload and store its image under a name that contains the epoch; it stays frozen.

    Raises:
        EngineRevoked: `stop` was set; the engine's command was ended.
        EngineUnavailable: Another try may mend it.
        EngineError: No retry can mend it.
    """
    engine, workload = node.engine(claim.workload)
    freeze_ms = _milliseconds(lambda: engine.freeze(workload, lock=lock, stop=stop))
    effect("take.frozen")
    started = time.monotonic()
    image = engine.store(workload, name=f"{claim.id}-{claim.epoch}", lock=lock, stop=stop)
    effect("take.stored")
    store_ms = round((time.monotonic() - started) * 1000)
    return Stored(image, {"freeze_ms": freeze_ms, "store_ms": store_ms}, engine)


def _milliseconds(work: Callable[[], None]) -> int:
    started = time.monotonic()
    work()
    return round((time.monotonic() - started) * 1000)

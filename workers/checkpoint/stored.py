"""Freezing a workload and storing its image: what the engine does between a claim and its offer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from shared.db.checkpoints import Claim
from shared.seam import effect
from workers.engines.engine import Image
from workers.engines.on_purpose import Step, hold_up_or_fail
from workers.node.lock import NodeLock
from workers.node.node import Node

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that was stored, and how long each phase took, in milliseconds."""

    image: Image
    phases: Mapping[str, int]


def freeze_and_store(node: Node, claim: Claim, *, lock: NodeLock, stop: Event) -> Stored:
    """Freeze the workload and store its image under a name that contains the epoch; it stays frozen.

    Raises:
        EngineRevoked: `stop` was set; the engine's command was ended.
        EngineUnavailable: Another try may mend it.
        EngineError: No retry can mend it.
    """
    engine, workload = node.engine(claim.workload)
    _, freeze_ms = timed(lambda: engine.freeze(workload, lock=lock, stop=stop))
    effect("take.frozen")
    name = f"{claim.id}-{claim.epoch}"
    hold_up_or_fail(node.connections.settings, Step.CHECKPOINT, stop=stop)
    image, store_ms = timed(lambda: engine.store(workload, name=name, lock=lock, stop=stop))
    effect("take.stored")
    hold_up_or_fail(node.connections.settings, Step.PUSH, stop=stop)
    # The engine's own phases, if it has any, part the store.
    return Stored(image, {"freeze_ms": freeze_ms, "store_ms": store_ms, **image.phases})


def timed(work: Callable[[], T]) -> tuple[T, int]:
    """Do something; return what it gave, and the milliseconds that it took."""
    started = time.monotonic()
    result = work()
    return result, round((time.monotonic() - started) * 1000)

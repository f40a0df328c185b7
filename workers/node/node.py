"""The machine that takes and restores: its connections, its engines, its lock."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared.connections import Connections
from shared.messages import Workload
from shared.vocabulary import EngineName
from workers.engines.available import engine_for, usable_engines
from workers.engines.engine import Engine
from workers.node.lock import NodeLock, node_lock
from workers.node.stopping import Stopping


@dataclass(frozen=True)
class Node:
    """This node, as its workers see it."""

    connections: Connections
    stopping: Stopping = field(default_factory=Stopping)

    @cached_property
    def engines(self) -> tuple[EngineName, ...]:
        """The engines of the settings that work here, probed once; what does not is said and not offered."""
        return usable_engines(self.connections.settings)

    @property
    def name(self) -> str:
        """The node's name, as workloads name it."""
        return self.connections.settings.node

    @contextmanager
    def lock(self, run_id: str) -> Generator[NodeLock | None]:
        """Hold a run's lock on this node; None: somebody else has it."""
        with node_lock(self.connections.settings.lock_folder, run_id) as lock:
            yield lock

    def engine(self, workload: dict[str, Any]) -> tuple[Engine, Workload]:
        """Return the engine of a workload, and the workload as engines know it.

        Raises:
            EngineUnsupported: This node has no such engine.
        """
        known = Workload.from_json(workload)
        return engine_for(EngineName(known.engine), self.connections.settings), known

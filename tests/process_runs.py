"""Runs of the engine `process` as a platform keeps them: an id, and wherever the run lives now."""

from pathlib import Path
from typing import Literal
from uuid import uuid4

import msgspec

from shared.messages import Continue, Workload
from shared.vocabulary import EngineName
from tests.engines.counting import CountingProcess, session_members, session_states


class CountingRun(CountingProcess):
    """A run that counts, with a thread and a child; its starter asks how each of its processes ends.

    Args:
        folder: For its files.
        node: The node's name in its workload.
        pids: Whether it has a pid namespace of its own.
    """

    def __init__(self, folder: Path, *, node: str, pids: Literal["own", "shared"] = "shared") -> None:
        self.id = f"run-{uuid4().hex}"
        self._node = node
        super().__init__(folder, engine=EngineName.PROCESS, pids=pids)

    @property
    def workload(self) -> Workload:
        """Return what its platform says of it."""
        return msgspec.structs.replace(super().workload, node=self._node)

    @property
    def is_gone(self) -> bool:
        """Whether no process of it is left."""
        return session_members(self.pid) == []

    @property
    def stands(self) -> bool:
        """Whether it stands as a whole."""
        return session_states(self.pid) == {"T"}

    def moved_to_node(self, node: str) -> None:
        """Take note of the node on which it lives now."""
        self._node = node

    def went_on(self, continuation: Continue) -> None:
        """Take note of where the run is said to go on, and see that it does, from where it was."""
        told = Workload.from_json(continuation.workload)
        self.moved_to(told)
        assert self.workload == told
        self.assert_runs()

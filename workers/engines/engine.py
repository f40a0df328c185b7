"""What every engine does: freeze, store, thaw, kill, restore, permit and discard a workload.

Whoever calls an engine for a run holds the run's node lock. Every call may come twice: freezing what is
frozen, thawing what runs and killing what is gone are no errors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from shared.messages import Workload
from workers.node.lock import NodeLock


@dataclass(frozen=True, slots=True)
class Image:
    """What a store left.

    Attributes:
        location: Where it is; it contains the claim's name.
        digest: What it must hash to; None: not hashed.
        image_bytes: How large it is where it is kept.
        phases: What making it took, in milliseconds (`dump_ms`, `store_ms`) and bytes; nothing decides by them.
        is_portable: Whether other nodes with the engine can fetch it.
    """

    location: str
    digest: str | None
    image_bytes: int
    phases: Mapping[str, int] = field(default_factory=dict[str, int])
    is_portable: bool = False


class Engine(Protocol):
    """Freezes and restores the workloads of one kind on this node.

    `lock` is inherited by every command that an engine runs. `stop` is set once the checkpoint was revoked:
    the command is ended and `EngineRevoked` raised. After any error a workload may stand, wholly or in part:
    whoever called settles it, by what Postgres says. `name` is `<checkpoint id>-<epoch>`, never an
    upstream's word.

    Errors of all methods:
        RunGone: The workload has ended, is not marked as one, or its pid belongs to another process now.
        EngineUnavailable: Another try may mend it.
        EngineUnsupported: No retry can mend it.
    """

    def leaves_standing(self, location: str) -> bool:
        """Whether `kill` is not to be called for what was stored at a location: it is left as it is.

        Then its restore is only to let it go. By the location, so that a change of settings harms nothing frozen.
        """
        ...

    def probe(self) -> None:
        """Return if this node can do what the engine needs.

        Raises:
            EngineUnsupported: It cannot; the message says what is missing.
        """
        ...

    def freeze(self, workload: Workload, *, lock: NodeLock, stop: Event) -> None:
        """Make the whole workload stand still; once this returns, nothing of it runs until a thaw.

        Raises:
            RunGone: There is no such workload; nothing was touched.
            EngineRevoked: `stop` was set meanwhile.
        """
        ...

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Dump the frozen workload and store the image under `name`; the workload stands before and after.

        Raises:
            RunGone: There is no such workload.
            EngineUnavailable: The store failed, or the workload did not stand from its start to its end.
            EngineRevoked: `stop` was set meanwhile.
        """
        ...

    def thaw(self, workload: Workload) -> None:
        """Let the workload run again where it stands; one that is gone is ignored."""
        ...

    def kill(self, workload: Workload) -> None:
        """End a workload whose checkpoint was accepted; one that is gone is ignored."""
        ...

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Bring the image back as a workload that is held: it does not run until it is permitted.

        Repeated under the same name, it returns the same workload, also when that was permitted already.

        Args:
            image: What the accepted checkpoint's store returned.
            name: Of the restore's own epoch, so that a late kill of an older one never meets it.
            workload: What was frozen.
            lock: The run's lock on this node.
            stop: The run is over meanwhile.

        Raises:
            RunGone: Nothing is left that could be restored.
            EngineRevoked: `stop` was set meanwhile.
        """
        ...

    def permit(self, workload: Workload) -> None:
        """Let a held workload run; one that runs already or is gone is ignored."""
        ...

    def discard(self, location: str) -> None:
        """Remove the image at a location; one that is gone is ignored."""
        ...

    def clear(self, name: str, *, keep: Workload | None) -> None:
        """Remove whatever this and earlier claims of the same checkpoint left, here and in the store.

        That is images, half dumps, and workloads that were restored but never permitted. Only for a checkpoint
        that nobody will restore any more: refused, revoked, failed, restored or discarded.

        Args:
            name: Of the newest claim.
            keep: The workload that was permitted; it is not touched.
        """
        ...

    def standing(self, *, node: str) -> list[Workload]:
        """Return every marked workload of this engine that is frozen or held on this node now.

        Args:
            node: The node's name, which the workloads then carry.
        """
        ...

    def is_standing(self, workload: Workload) -> bool:
        """Whether the workload is frozen or held now; false for one that runs or is gone."""
        ...

"""The engine `simulate`: stops and continues a process tree, and stores nothing.

It shows all of the protocol without CRIU. A killed workload is left standing, and what is restored is the same one,
let go.
"""

from collections.abc import Sequence
from threading import Event

from shared.errors import EngineUnsupported
from shared.messages import Workload
from shared.vocabulary import EngineName
from workers.engines import command, processes, tree
from workers.engines.engine import Image
from workers.node.lock import NodeLock


class Simulate:
    """Stops and continues processes of this node that are marked as workloads, and their descendants.

    Args:
        argv: A program to run where other engines dump and store; empty for none.
        seconds: The time limit of that program, and of a freeze where it is shorter than ours.
    """

    def __init__(self, argv: Sequence[str], *, seconds: float) -> None:
        self._argv = tuple(argv)
        self._seconds = seconds

    def leaves_standing(self, location: str) -> bool:
        """Always: nothing is stored."""
        del location
        return True

    def probe(self) -> None:
        """Return if this node shows its processes.

        Raises:
            EngineUnsupported: There is no /proc, as on macOS.
        """
        if processes.read_stat(processes.PROC / "self") is None:
            raise EngineUnsupported(
                "the engine simulate reads /proc, which this system does not have; run the checkpoint worker on Linux.",
                engine="simulate",
            )

    def freeze(self, workload: Workload, *, lock: NodeLock, stop: Event) -> None:
        """Stop the process and its descendants; see `tree.freeze`."""
        del lock  # no command is run
        tree.freeze(workload, stop=stop, seconds=self._seconds)

    def store(self, workload: Workload, *, name: str, lock: NodeLock, stop: Event) -> Image:
        """Run the program that stands for dump and store, if one is set.

        Raises:
            RunGone: The workload has ended, is not marked, or its pid is used again.
            EngineUnavailable: The program failed, or the workload did not stand all the time.
            EngineRevoked: `stop` was set meanwhile.
        """
        tree.expect_standing(workload)
        if self._argv:
            command.run(self._argv, lock=lock, stop=stop, seconds=self._seconds)
            tree.expect_standing(workload)
        return Image(location=f"simulate:{name}", digest=None, image_bytes=0)

    def thaw(self, workload: Workload) -> None:
        """Continue the process and its descendants; one that is gone or not marked is ignored."""
        tree.thaw(workload)

    def kill(self, workload: Workload) -> None:
        """Do nothing: the process is left standing, for its restore or its upstream to let it go."""

    def restore(self, image: Image, *, name: str, workload: Workload, lock: NodeLock, stop: Event) -> Workload:
        """Return the workload as it stands; one that was permitted already is not stopped again.

        Raises:
            RunGone: It has ended, is not marked, or its pid is used again.
        """
        del image, name, lock, stop  # nothing was stored, and no command is run
        tree.expect(workload)
        return workload

    def permit(self, workload: Workload) -> None:
        """Continue the process and its descendants; one that is gone or not marked is ignored."""
        tree.thaw(workload)

    def discard(self, location: str) -> None:
        """Do nothing: nothing was stored."""

    def clear(self, name: str, *, keep: Workload | None) -> None:
        """Do nothing: nothing was stored, and what stands is the workload itself."""

    def standing(self, *, node: str) -> list[Workload]:
        """Return the marked processes that stand now; a descendant of a workload is listed like one."""
        return tree.standing(EngineName.SIMULATE, node=node)

    def is_standing(self, workload: Workload) -> bool:
        """Whether any thread of the process is stopped; see `tree.is_standing`."""
        return tree.is_standing(workload)

"""What runs beside the tasks of a Celery worker, from its start to its end, and the heartbeat of all of it."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from celery import Celery, bootsteps
from redis import RedisError

from shared.pulse import Finding, Pulse
from shared.settings import Settings
from workers.cli.kinds import WorkerKind
from workers.heart import Heart

TICK_SECONDS: Final = 1.0


class Runner(Protocol):
    """A thread of a worker's own, that outlives every reconnect of the worker's consumer."""

    pulse: Pulse

    def start(self) -> None:
        """Begin; returns at once."""
        ...

    def stop(self) -> None:
        """Finish what is in hand and end."""
        ...


def run_beside(app: Celery, kind: WorkerKind, settings: Settings, make: Callable[[str], Sequence[Runner]]) -> None:
    """Have every worker of an app run something of its own, and tell how all its loops are.

    A step of the worker, not of its consumer: a consumer's steps are stopped and started at every reconnect.

    Args:
        app: The worker's app.
        kind: Of the worker.
        settings: Where its heartbeats go, and when a loop stands.
        make: Makes the runners from the worker's hostname.
    """

    class RunnerStep(bootsteps.StartStopStep):
        # Before the consumer, whose start does not return until the worker ends; its timer turns in the consumer's
        # loop.
        requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

        def __init__(self, parent: Any, **_: Any) -> None:
            super().__init__(parent)
            self._runners = make(parent.hostname)
            self._consumer = _Consumer(parent, limit_seconds=settings.health_limit_ms / 1000)
            looks = [self._consumer.look, *(runner.pulse.look for runner in self._runners)]
            self._heart = Heart(kind, settings.health_folder, looks)

        def start(self, parent: Any) -> None:
            parent.timer.call_repeatedly(TICK_SECONDS, self._consumer.turned)
            for runner in self._runners:
                runner.start()
            self._heart.start()

        def stop(self, parent: Any) -> None:
            _ = parent
            self._heart.stop()
            for runner in self._runners:
                runner.stop()

        def terminate(self, parent: Any) -> None:
            self.stop(parent)

    RunnerStep.__name__ = RunnerStep.name = "Beside"
    app.steps["worker"].add(RunnerStep)


class _Consumer(Pulse):
    """The loop in which Celery takes messages; it does not turn while it connects, which Celery tries for ever."""

    def __init__(self, parent: Any, *, limit_seconds: float) -> None:
        super().__init__("Celery's consumer", limit_seconds=limit_seconds)
        self._parent = parent

    def look(self) -> Finding:
        """Find out how the loop is."""
        consumer = getattr(self._parent, "consumer", None)
        if consumer is None or consumer.connection is None:
            self.waits(RedisError("not connected"))
        return super().look()

"""What runs beside the tasks of a Celery worker, from its start to its end."""

from collections.abc import Callable
from typing import Any, Protocol

from celery import Celery, bootsteps


class Runner(Protocol):
    """A thread of a worker's own, that outlives every reconnect of the worker's consumer."""

    def start(self) -> None:
        """Begin; returns at once."""
        ...

    def stop(self) -> None:
        """Finish what is in hand and end."""
        ...


def run_beside(app: Celery, name: str, make: Callable[[str], Runner]) -> None:
    """Have every worker of an app run something of its own.

    A step of the worker, not of its consumer: a consumer's steps are stopped and started at every reconnect.

    Args:
        app: The worker's app.
        name: Of the step.
        make: Makes the runner from the worker's hostname.
    """

    class RunnerStep(bootsteps.StartStopStep):
        # Before the consumer, whose start does not return until the worker ends.
        requires = ("celery.worker.components:Pool",)

        def __init__(self, parent: Any, **_: Any) -> None:
            super().__init__(parent)
            self._runner = make(parent.hostname)

        def start(self, parent: Any) -> None:
            _ = parent
            self._runner.start()

        def stop(self, parent: Any) -> None:
            _ = parent
            self._runner.stop()

        def terminate(self, parent: Any) -> None:
            self.stop(parent)

    RunnerStep.__name__ = RunnerStep.name = name
    app.steps["worker"].add(RunnerStep)

"""`checkpoints worker KIND`: one process of the Procfile."""

import os
import signal
from threading import Event
from types import FrameType
from typing import Any

import structlog

from shared.errors import DeferredCheckpointError
from shared.settings import Settings, current_settings
from shared.telemetry import logs
from workers.cli.exits import DONE, exit_code
from workers.cli.kinds import WorkerKind

log = structlog.get_logger(__name__)


def run_worker(kind: WorkerKind) -> int:
    """Be a worker until SIGTERM; return the exit code, or exit, when it has stopped or could not start."""
    logs.set_up(worker=kind)
    try:
        settings = current_settings()
        logs.set_up(worker=kind, urls=_urls(settings))
        _run(kind, settings)
    except DeferredCheckpointError as error:
        # A setting is wrong, a server is away, the schema is another release's: told as a line like all others.
        log.critical("worker.refused", code=error.code, problem=error.message, facts=error.facts)
        return exit_code(error)
    return DONE


def _run(kind: WorkerKind, settings: Settings) -> None:
    match kind:
        case WorkerKind.CHECKPOINT:
            _run_checkpoint(settings)
        case WorkerKind.RESUME:
            _run_resume(settings)
        case WorkerKind.SWEEPER:
            _run_sweeper(settings)
        case WorkerKind.FLOWER:
            from workers.cli.flower import run_flower  # noqa: PLC0415

            run_flower(settings)


def _urls(settings: Settings) -> list[str]:
    """Return all that hold a password."""
    own = [settings.database_url.get_secret_value(), settings.broker_url.get_secret_value()]
    return [*own, os.environ.get("CHECKPOINT_FLOWER_URL", "")]


def _run_checkpoint(settings: Settings) -> None:
    from shared.queues import checkpoints_queue  # noqa: PLC0415 - each kind imports its own
    from workers.checkpoint.tasks import app  # noqa: PLC0415

    _run_celery(
        app,
        _celery_arguments(
            WorkerKind.CHECKPOINT,
            settings,
            queue=checkpoints_queue(settings.node),
            # A take waits for an engine's command, not for Python.
            threads=settings.take_concurrency,
        ),
    )


def _run_resume(settings: Settings) -> None:
    from workers.resume.tasks import app  # noqa: PLC0415

    # Its drain reads `resumes` itself; Celery's part is to be seen, and has a queue that stays empty.
    _run_celery(app, _celery_arguments(WorkerKind.RESUME, settings, queue="resume.control", threads=1))


def _run_celery(app: Any, arguments: list[str]) -> None:
    from workers.cli.celery_lines import take_over  # noqa: PLC0415

    take_over()
    app.worker_main(arguments)


def _celery_arguments(kind: WorkerKind, settings: Settings, *, queue: str, threads: int) -> list[str]:
    return [
        # Without the banner, which is no line of a log.
        "--quiet",
        "worker",
        "--pool=threads",
        f"--concurrency={threads}",
        f"--queues={queue}",
        # The pid tells the workers of a pool apart.
        f"--hostname={kind}.{os.getpid()}@{settings.node}",
        "--task-events",
        # What workers tell each other at their start is only about `control.revoke`, which nobody uses.
        "--without-mingle",
        "--without-gossip",
        "--loglevel=INFO",
    ]


def _run_sweeper(settings: Settings) -> None:
    from shared.connections import Connections  # noqa: PLC0415
    from workers.heart import Heart  # noqa: PLC0415
    from workers.sweeper.loop import pulse_for, run  # noqa: PLC0415

    stopping = Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    connections = Connections.open(settings, name="sweeper settings", size=1)
    pulse = pulse_for(connections)
    heart = Heart(WorkerKind.SWEEPER, settings.health_folder, [pulse.look])
    heart.start()
    try:
        run(connections, stopping, pulse)
    finally:
        heart.stop()
        connections.close()

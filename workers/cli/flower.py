"""Flower as a worker of ours: only for whoever has the password, and with a heartbeat like the others."""

import os
from typing import Any, cast
from urllib.parse import urlsplit

from flower.urls import handlers
from flower.views.monitor import Metrics
from redis import Redis, RedisError
from tornado.ioloop import PeriodicCallback
from tornado.web import authenticated

from shared.broker import connect
from shared.errors import Misconfigured
from shared.pulse import Finding, Pulse
from shared.queues import make_app
from shared.settings import Settings
from workers.cli.kinds import WorkerKind
from workers.heart import Heart

TICK_MS = 1_000
METRICS = r"/metrics"


def run_flower(settings: Settings) -> None:
    """Be Flower, for whoever has the password.

    Raises:
        Misconfigured: `CHECKPOINT_FLOWER_URL` is missing or incomplete.
    """
    where = urlsplit(os.environ.get("CHECKPOINT_FLOWER_URL", ""))
    if not (where.hostname and where.port and where.username and where.password):
        raise Misconfigured(
            "CHECKPOINT_FLOWER_URL is missing or incomplete; expected http://user:password@address:port. "
            "Flower shows what runs are called, so it never starts without a password."
        )
    # By environment, since others can read a command line.
    os.environ["FLOWER_BASIC_AUTH"] = f"{where.username}:{where.password}"
    close_metrics()
    pages = Pulse("Flower's web server", limit_seconds=settings.health_limit_ms / 1000)
    # The very loop that answers requests and takes events; Flower starts it.
    PeriodicCallback(lambda: _turned(pages), TICK_MS).start()
    Heart(WorkerKind.FLOWER, settings.health_folder, [pages.look, _Broker(settings).look]).start()
    app = make_app("flower", settings)
    app.start(["flower", f"--address={where.hostname}", f"--port={where.port}"])


def _turned(pulse: Pulse) -> None:
    pulse.turned()


class ClosedMetrics(cast("type[Any]", Metrics)):
    """Flower's metrics, behind the password: Flower itself shows them, with the names of workers, to anybody."""

    @authenticated
    async def get(self) -> None:
        """Answer whoever has the password."""
        await super().get()


def close_metrics() -> None:
    """Ask for the password before `/metrics` too.

    Raises:
        Misconfigured: This Flower has its metrics elsewhere.
    """
    known = cast("list[Any]", handlers)
    places = [number for number, one in enumerate(known) if isinstance(one, tuple) and one[0] == METRICS]
    if len(places) != 1:
        raise Misconfigured(f"this Flower has no {METRICS}; expected Flower 2.2. Install the version that we pin.")
    known[places[0]] = (METRICS, ClosedMetrics)


class _Broker(Pulse):
    """Whether Flower could hear of anything: it has no loop of its own, so each look is a turn."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("Flower", limit_seconds=settings.health_limit_ms / 1000)
        self._redis: Redis = connect(settings)

    def look(self) -> Finding:
        """Find out whether Redis answers."""
        try:
            self._redis.ping()  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs
        except RedisError as error:
            self.waits(error)
        else:
            self.turned()
        return super().look()

"""`checkpoints worker flower`: Flower, for whoever has the password, and only to look."""

import os
from dataclasses import dataclass
from typing import Any, Final, Self, cast
from urllib.parse import unquote, urlsplit

from redis import Redis, RedisError
from tornado.ioloop import PeriodicCallback

from shared.broker import connect
from shared.errors import Misconfigured
from shared.pulse import Finding, Pulse
from shared.queues import make_app
from shared.settings import Settings
from workers.cli.kinds import WorkerKind
from workers.heart import Heart

TICK_MS: Final = 1_000
VARIABLE: Final = "CHECKPOINT_FLOWER_URL"
# What an operator may change by Flower's own variables, and how it is otherwise.
DEFAULTS: Final = {
    # Its buttons stop workers and revoke tasks behind the back of Postgres.
    "FLOWER_READ_ONLY": "true",
    "FLOWER_TASKS_COLUMNS": "name,uuid,state,kwargs,result,received,runtime,worker",
}


@dataclass(frozen=True, slots=True)
class Where:
    """Where Flower listens, and for whom."""

    address: str
    port: int
    user: str
    password: str

    @classmethod
    def read(cls, url: str) -> Self:
        """Read CHECKPOINT_FLOWER_URL.

        Raises:
            Misconfigured: It does not name an address, a port, a user and a password.
        """
        try:
            parts = urlsplit(url)
            address, port = parts.hostname, parts.port
        except ValueError:
            address = port = parts = None
        if not (parts and address and port and parts.username and parts.password):
            raise Misconfigured(
                f"{VARIABLE} is missing or incomplete; expected http://user:password@address:port. "
                "Flower shows what runs are called, so it never starts without a password."
            )
        user, password = unquote(parts.username), unquote(parts.password)
        # Flower takes a comma for the beginning of another user, who would have no password.
        if "," in user + password or ":" in user:
            raise Misconfigured(
                f"{VARIABLE} has a comma in its user or password, or a colon in its user; choose others."
            )
        return cls(address, port, user, password)


def run_flower(settings: Settings) -> None:
    """Be Flower until SIGTERM.

    Raises:
        Misconfigured: It has no address, or no password.
    """
    where = Where.read(os.environ.get(VARIABLE, ""))
    # By environment, since others can read a command line.
    os.environ["FLOWER_BASIC_AUTH"] = f"{where.user}:{where.password}"
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    _ask_for_the_password_everywhere()
    pages = Pulse("Flower's web server", limit_seconds=settings.health_limit_ms / 1000)
    # The very loop that answers requests and takes events; Flower starts it.
    PeriodicCallback(lambda: _turned(pages), TICK_MS).start()
    Heart(WorkerKind.FLOWER, settings.health_folder, [pages.look, _Broker(settings).look]).start()
    app = make_app("flower", settings)
    app.start(["flower", f"--address={where.address}", f"--port={where.port}"])


def _ask_for_the_password_everywhere() -> None:
    """Close `/metrics`, which names workers and tasks to everybody; `/healthcheck` stays open and says OK alone."""
    from flower.views import monitor  # noqa: PLC0415 - half a second that no other worker needs
    from tornado.web import authenticated  # noqa: PLC0415

    metrics = cast("Any", monitor.Metrics)
    metrics.get = authenticated(metrics.get)


def _turned(pulse: Pulse) -> None:
    pulse.turned()


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

"""One fast pair of servers for a whole test run; a test that restarts or kills one brings it back itself."""

from dataclasses import dataclass
from pathlib import Path

from workers.cli.postgres_server import postgres_server
from workers.cli.redis_server import redis_server
from workers.cli.servers import EmbeddedServer


@dataclass(frozen=True, slots=True)
class Servers:
    """A running Postgres and Redis."""

    database_url: str
    broker_url: str
    postgres: EmbeddedServer
    redis: EmbeddedServer

    def stop(self) -> None:
        """Stop both."""
        self.redis.stop()
        self.postgres.stop()


def start_servers(folder: Path) -> Servers:
    """Start a pair in a folder and wait until both answer."""
    postgres = postgres_server(folder / "postgres", fast=True)
    redis = redis_server(folder / "redis", fast=True)
    for server in (postgres, redis):
        server.start()
    for server in (postgres, redis):
        server.wait_ready()
    return Servers(postgres.url, redis.url, postgres, redis)

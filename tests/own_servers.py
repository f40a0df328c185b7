"""A Postgres and a Redis that a test may stop and start, beside those that all tests share."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from servers import Servers, start_servers

from shared.db.migrate import migrate
from shared.settings import Settings


@contextmanager
def own_servers(folder: Path) -> Generator[Servers]:
    """Run a pair for as long as the block runs."""
    servers = start_servers(folder)
    try:
        migrate(servers.database_url)
        yield servers
    finally:
        servers.stop()


def on(servers: Servers, settings: Settings) -> Settings:
    """Return settings on these servers."""
    urls = {"database_url": SecretStr(servers.database_url), "broker_url": SecretStr(servers.broker_url)}
    return settings.model_copy(update=urls)

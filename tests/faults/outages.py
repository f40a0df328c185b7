"""Servers that fail for a while: each outage begins with its block and is over with it."""

import shutil
import signal
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import psycopg

from shared.broker import connect, run
from tests.faults.storm import WORKERS, Storm

TERMINATE: Final = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{WORKERS}'"  # noqa: S608
Outage = Callable[[Storm], AbstractContextManager[None]]


@contextmanager
def redis_restarted(storm: Storm) -> Generator[None]:
    """Killed, then started on what it had written."""
    storm.servers.redis.kill()
    yield
    storm.servers.redis.start()
    storm.servers.redis.wait_ready()


@contextmanager
def redis_restarted_without_data(storm: Storm) -> Generator[None]:
    """Killed, then started with nothing."""
    storm.servers.redis.kill()
    shutil.rmtree(storm.servers.redis.log.parent / "appendonlydir")
    yield
    storm.servers.redis.start()
    storm.servers.redis.wait_ready()


@contextmanager
def redis_read_only(storm: Storm) -> Generator[None]:
    """A replica of nobody, as after a failover to another that does not come."""
    with connect(storm.settings) as redis:
        run(redis, ("REPLICAOF", "127.0.0.1", 1))
        yield
        run(redis, ("REPLICAOF", "NO", "ONE"))


@contextmanager
def redis_full(storm: Storm) -> Generator[None]:
    """Out of memory: what takes memory is refused."""
    with connect(storm.settings) as redis:
        run(redis, ("CONFIG", "SET", "maxmemory", 1))
        yield
        run(redis, ("CONFIG", "SET", "maxmemory", 0))


@contextmanager
def redis_silent(storm: Storm) -> Generator[None]:
    """Its connections are cut without a word."""
    _, way = storm.ways
    way.fall_silent()
    yield
    way.speak()


@contextmanager
def postgres_restarted(storm: Storm) -> Generator[None]:
    """Stopped at once, then started."""
    storm.servers.postgres.stop(signal.SIGQUIT)
    yield
    storm.servers.postgres.start()
    storm.servers.postgres.wait_ready()


@contextmanager
def postgres_out_of_connections(storm: Storm) -> Generator[None]:
    """The workers lose theirs, and get no others."""
    _change(storm, f"ALTER ROLE {WORKERS} CONNECTION LIMIT 0")
    _change(storm, TERMINATE)
    yield
    _change(storm, f"ALTER ROLE {WORKERS} CONNECTION LIMIT -1")


@contextmanager
def postgres_read_only(storm: Storm) -> Generator[None]:
    """It answers, and writes nothing."""
    _change(storm, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    yield
    _change(storm, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@contextmanager
def postgres_silent(storm: Storm) -> Generator[None]:
    """Its connections are cut without a word; what was open in it stays so."""
    way, _ = storm.ways
    way.fall_silent()
    yield
    way.speak()


OF_REDIS: Final[list[Outage]] = [redis_restarted, redis_restarted_without_data, redis_read_only, redis_full]
OF_POSTGRES: Final[list[Outage]] = [postgres_restarted, postgres_out_of_connections, postgres_read_only]
SILENCE: Final[list[Outage]] = [redis_silent, postgres_silent]


def _change(storm: Storm, *statements: str) -> None:
    url = storm.settings.database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as conn:
        for one in statements:
            conn.execute(one.encode())

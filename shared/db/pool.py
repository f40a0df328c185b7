"""Connections to Postgres: opened at the start, so that a wrong address fails at once."""

from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout  # pyright: ignore[reportPrivateUsage]  # what `wait` is documented to raise
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from shared.db.migrate import require_schema
from shared.errors import Unreachable
from shared.settings import Settings

STATEMENT_LIMIT = "10s"  # longer than any statement of ours takes under load; a hung one must not hold locks
ANSWER_SECONDS = 12.0  # then it is not the server that is slow: the way to it lost the answer, or the question
IDLE_LIMIT = "10s"  # no transaction of ours waits for anything but Postgres; one whose worker is gone holds locks
CONNECT_SECONDS = 5
WAIT_INTERVAL = 0.1  # psycopg's own
# Every statement of ours finds few rows by an index. A plan made on a small table, kept when it is large, must be
# one of look-ups too.
LOOK_UPS_ONLY = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"

T = TypeVar("T")
Row = TypeVar("Row")


class AnsweredConnection(Connection[Row]):
    """A connection that ends when an answer does not come.

    The kernel notices a host that is gone. Behind a proxy that swallows everything it sees nothing wrong, for ever.
    """

    def wait(self, gen: PQGen[T], interval: float = WAIT_INTERVAL, timeout: float | None = None) -> T:
        """Wait for the server.

        Raises:
            psycopg.OperationalError: It did not answer; what became of the statement is not known.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_SECONDS)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s: the connection is lost") from error


Pool = ConnectionPool[Connection[TupleRow]]


def connect(settings: Settings, *, name: str) -> Connection[TupleRow]:
    """Open one connection, for a thread that keeps it.

    Args:
        settings: Where Postgres is.
        name: Who we are, for `pg_stat_activity`.

    Raises:
        psycopg.OperationalError: Postgres cannot be reached.
    """
    return AnsweredConnection[TupleRow].connect(settings.database_url.get_secret_value(), **_options(name))


def check(conn: Connection[Any]) -> None:
    """Return if the server answers.

    Raises:
        psycopg.OperationalError: It does not; the connection is closed.
    """
    ConnectionPool.check_connection(conn)


def open_pool(settings: Settings, *, name: str, size: int) -> Pool:
    """Open a pool of at most `size` connections; it is ready when this returns.

    Raises:
        Unreachable: Postgres cannot be reached, or does not let us in.
        SchemaMismatch: The database lacks migrations of this release.
    """
    try:
        # The pool would only say that it waited in vain.
        connect(settings, name=name).close()
    except psycopg.OperationalError as error:
        raise Unreachable(f"Postgres cannot be used: {str(error).strip()}. Check CHECKPOINT_DATABASE_URL.") from error
    pool: Pool = ConnectionPool(
        settings.database_url.get_secret_value(),
        connection_class=AnsweredConnection[TupleRow],
        kwargs=_options(name),
        min_size=1,
        max_size=size,
        timeout=CONNECT_SECONDS,
        open=False,
        name=name,
    )
    pool.open(wait=True, timeout=CONNECT_SECONDS)
    with pool.connection() as conn:
        require_schema(conn)
    return pool


def _options(name: str) -> dict[str, Any]:
    return {
        "autocommit": True,
        "application_name": f"checkpoints {name}",
        "connect_timeout": CONNECT_SECONDS,
        # A server that vanished without a word is noticed after about 15 seconds.
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
        "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_LIMIT} "
        f"-c idle_in_transaction_session_timeout={IDLE_LIMIT} {LOOK_UPS_ONLY}",
    }

"""A run that talks to Redis and to Postgres over TCP, and connects again when a connection is lost."""

import sys
from pathlib import Path

from shared.vocabulary import EngineName
from tests.engines.counting import MARK, StartedRun
from tests.waiting import wait_until

PROGRAM = """
import os, sys, time
import psycopg, redis

database_url, broker_url, out = sys.argv[1:]
written = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def connect():
    client = redis.Redis.from_url(broker_url, retry=None, health_check_interval=0)
    return client, psycopg.connect(database_url, autocommit=True)

cache, base = connect()
number = 1
while True:
    try:
        [[backend]] = base.execute("SELECT pg_backend_pid()").fetchall()
        os.write(written, b"%d %d %d\\n" % (number, cache.client_id(), backend))
        number += 1
        time.sleep(0.002)
    except (redis.ConnectionError, psycopg.OperationalError):
        cache, base = connect()
"""


class ConnectedRun(StartedRun):
    """Asks both servers again and again who it is to them.

    Args:
        folder: For its files.
        database_url: Postgres.
        broker_url: Redis.
    """

    def __init__(self, folder: Path, *, database_url: str, broker_url: str) -> None:
        folder.mkdir()
        self._out = folder / "answers"
        argv = [sys.executable, "-c", PROGRAM, database_url, broker_url, str(self._out)]
        super().__init__(folder, argv, MARK, engine=EngineName.PROCESS)
        wait_until(lambda: self._out.exists() and self.answers())

    def answers(self) -> list[tuple[int, int, int]]:
        """Return what it wrote: a number, its id at Redis, and that at Postgres."""
        lines = [line.split() for line in self._out.read_text().splitlines()]
        return [(int(number), int(client), int(backend)) for number, client, backend in lines]

    def connections(self) -> tuple[int, int]:
        """Wait for an answer that comes from now on, and return the ids in it; no number is twice or left out."""
        before = len(self.answers())
        wait_until(lambda: len(self.answers()) > before + 1)
        answers = self.answers()
        assert [number for number, _, _ in answers] == list(range(1, len(answers) + 1))
        return answers[-1][1:]


LISTENER = """
import os, socket, sys, time
written = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
os.write(written, b"connected\\n")
heard = b"something"
while heard:
    try:
        heard = connection.recv(100)
    except OSError:
        heard = b""
    os.write(written, heard or b"closed\\n")
while True:
    time.sleep(0.01)
"""


class ListeningRun(StartedRun):
    """Waits for what the other side of a connection says, line by line.

    Args:
        folder: For its files.
        port: Where the other side listens.
    """

    def __init__(self, folder: Path, *, port: int) -> None:
        folder.mkdir()
        self._out = folder / "heard"
        argv = [sys.executable, "-S", "-c", LISTENER, str(port), str(self._out)]
        super().__init__(folder, argv, MARK, engine=EngineName.PROCESS)
        wait_until(lambda: self._out.exists() and self.heard())

    def heard(self) -> list[str]:
        """Return what it wrote: `connected`, the lines that it heard, `closed`."""
        return self._out.read_text().splitlines()

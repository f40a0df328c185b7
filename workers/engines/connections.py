"""TCP connections that outlive their process: left open by a kill, for a restore to take up again.

A dumped connection may go on only if nothing came in since the dump: what the kernel acknowledged for a process that
is killed then would be lost, and both sides would wait for each other. So what had come in is noted before the dump;
at the kill, nothing is let in any more, then it is compared. A connection that is unchanged ends without a word to its
peer, any other is closed as usual. No firewall rule is needed, so none can be left behind.

Source: linux/tcp.h, linux/filter.h; tcp(7), "TCP_REPAIR"; criu.org, "TCP connection".
"""

import ctypes
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from workers.engines import processes
from workers.engines.pidfd import open_pidfd
from workers.engines.processes import Process

SYS_PIDFD_GETFD: Final = 438  # on every architecture
TCP_REPAIR: Final = 19
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
ESTABLISHED: Final = 1
TCP_INFO_BYTES: Final = 136
BYTES_RECEIVED: Final = 128
# One instruction: let nothing in. A pointer to it and its length make a program.
RETURN_NOTHING: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)
FAMILIES: Final = {socket.AF_INET, socket.AF_INET6}

log = structlog.get_logger(__name__)


def note(family: Iterable[Process], path: Path) -> None:
    """Write down what has come in on each connection of a workload that stands."""
    noted = {key: received for key, sock in _connections(family) if (received := _received(sock)) is not None}
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps(noted))


def leave_open(family: Iterable[Process], path: Path) -> None:
    """Have a workload's connections survive its kill, but for those on which something came in since the note."""
    try:
        noted: dict[str, int] = json.loads(path.read_text())
    except FileNotFoundError:
        return
    for key, sock in _connections(family):
        instruction = ctypes.create_string_buffer(RETURN_NOTHING, len(RETURN_NOTHING))
        program = struct.pack("HL", 1, ctypes.addressof(instruction))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        if key in noted and _received(sock) == noted[key]:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
            log.info("connection.closed", connection=key)


def _received(sock: socket.socket) -> int | None:
    """Return how many bytes came in; None when the connection is not open both ways."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    return struct.unpack_from("=Q", info, BYTES_RECEIVED)[0] if info[0] == ESTABLISHED else None


def _connections(family: Iterable[Process]) -> Iterator[tuple[str, socket.socket]]:
    """Yield each TCP socket of some processes under a name that stays the same while they stand."""
    for process in family:
        with suppress(ProcessLookupError), open_pidfd(process.pid) as pid_fd:
            if pid_fd is None or not processes.exists(process):
                continue
            for number in _socket_numbers(process):
                fd = _get_fd(pid_fd, number)
                if fd is None:
                    continue
                with socket.socket(fileno=fd) as sock:
                    if sock.family in FAMILIES and sock.proto == socket.IPPROTO_TCP:
                        yield f"{process.pid}:{number}", sock


def _socket_numbers(process: Process) -> list[int]:
    folder = processes.PROC / str(process.pid) / "fd"
    try:
        return [int(path.name) for path in folder.iterdir() if _is_socket(path)]
    except (FileNotFoundError, PermissionError):
        return []


def _is_socket(path: Path) -> bool:
    try:
        return str(path.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


def _get_fd(pid_fd: int, number: int) -> int | None:
    """Return a descriptor of our own for what another process has open; None: it may not be had."""
    fd = ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, pid_fd, number, 0)
    return fd if fd >= 0 else None

"""A way to a server on which an answer may be lost, or on which all falls silent."""

import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 65_536


class LosingProxy:
    """Passes bytes on between clients and a server of this machine.

    Args:
        url: The server's.
    """

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        assert where.port is not None
        self._server_port = where.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = urlunsplit(where._replace(netloc=where.netloc.replace(f":{where.port}", f":{port}")))
        self.has_lost = Event()
        self._to_lose: bytes | None = None
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._is_silent = False
        Thread(target=self._accept, daemon=True).start()

    def lose_answer(self, containing: bytes) -> None:
        """Lose the next answer that contains these bytes, once, and its connection with it."""
        self.has_lost.clear()
        self._to_lose = containing

    def fall_silent(self) -> None:
        """Swallow all from now on; no connection ends, and those of now never work again."""
        with self._lock:
            self._is_silent = True
            self._silent |= self._open

    def speak(self) -> None:
        """Pass on what goes over new connections."""
        with self._lock:
            self._is_silent = False

    def close(self) -> None:
        """End all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _shut(connection)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    if self._is_silent:
                        self._open.add(client)
                        self._silent.add(client)
                        continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()  # the server is away, as its client is to see
                    continue
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open |= {client, server}
                Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with self._both(client, server):
            while request := client.recv(CHUNK_BYTES):
                if client not in self._silent:
                    server.sendall(request)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with self._both(server, client):
            while answer := server.recv(CHUNK_BYTES):
                if self._is_lost(answer):
                    return
                if client not in self._silent:
                    client.sendall(answer)

    def _is_lost(self, answer: bytes) -> bool:
        with self._lock:
            if self._to_lose is None or self._to_lose not in answer:
                return False
            self._to_lose = None
        self.has_lost.set()
        return True

    @contextmanager
    def _both(self, one: socket.socket, other: socket.socket) -> Generator[None]:
        """When one side ends, so does the other; if all is silent, the other does not hear of it."""
        with suppress(OSError):
            yield
        if one in self._silent:
            return
        for connection in (one, other):
            _shut(connection)
        with self._lock:
            self._open -= {one, other}


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

"""A bucket of an S3 server of the tests' own, asked for what the store of images did."""

import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen
from uuid import uuid4

import obstore
import pytest
from obstore.store import S3Store
from waiting import wait_until

from workers.cli.servers import free_port


class Bucket:
    """An empty bucket.

    Args:
        endpoint: The server's address.
    """

    def __init__(self, endpoint: str) -> None:
        name = f"images-{uuid4().hex}"
        self._address = f"{endpoint}/{name}"
        with urlopen(Request(self._address, method="PUT")):  # noqa: S310  # our own server
            self.url = f"s3://{name}/below"
        self._store = S3Store.from_url(self.url, client_options={"allow_http": True})

    def objects(self) -> list[str]:
        """Return the names of what is in it, as the store of images knows them."""
        return sorted(name.removeprefix("below/") for name in self._names("list-type=2"))

    def half_uploads(self) -> list[str]:
        """Return the names of objects whose upload has begun and not ended."""
        return self._names("uploads")

    def change_last_byte(self, name: str) -> None:
        """Change an object."""
        was = bytes(obstore.get(self._store, name).bytes())
        obstore.put(self._store, name, was[:-1] + bytes([was[-1] ^ 1]))

    def _names(self, query: str) -> list[str]:
        with urlopen(f"{self._address}?{query}") as answer:  # noqa: S310  # our own server
            return re.findall("<Key>([^<]+)</Key>", answer.read().decode())


@contextmanager
def an_s3_server(log: Path, environment: pytest.MonkeyPatch) -> Generator[str]:
    """Run a server, and name it in the environment as Amazon's own tools are told; yields its address."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        wait_until(lambda: _answers(endpoint))
        variables = {"ENDPOINT_URL": endpoint, "REGION": "eu-1", "ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "key"}
        for name, value in variables.items():
            environment.setenv(f"AWS_{name}", value)
        yield endpoint
    finally:
        server.kill()
        server.wait()


def _answers(endpoint: str) -> bool:
    try:
        with urlopen(endpoint) as answer:  # noqa: S310  # our own server
            return answer.status == HTTPStatus.OK
    except URLError:
        return False

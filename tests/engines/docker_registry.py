"""A registry of images of the tests' own."""

import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import msgspec

from tests.waiting import wait_until
from workers.cli.servers import free_port


class Registry:
    """A registry without TLS on a port of this machine, which can be stopped and started again.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        config = {
            "version": 0.1,
            "http": {"addr": self.name},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "registry")}, "delete": {"enabled": True}},
        }
        file = self._folder / "registry.json"
        file.write_bytes(msgspec.json.encode(config))
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(["docker-registry", "serve", str(file)], stdout=log, stderr=log)
        wait_until(self._answers)

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository; none if it is not there."""
        argv = ["skopeo", "list-tags", "--tls-verify=false", f"docker://{repository}"]
        found = subprocess.run(argv, capture_output=True, check=False)
        return sorted(msgspec.json.decode(found.stdout)["Tags"]) if found.returncode == 0 else []

    def images(self, path: str) -> list[str]:
        """Return the images that it has below a path, by name and tag."""
        with urlopen(f"http://{self.name}/v2/_catalog?n=1000") as answer:
            names: list[str] = msgspec.json.decode(answer.read())["repositories"]
        below = [name for one in names if (name := f"{self.name}/{one}").startswith(f"{path}/")]
        return [f"{name}:{tag}" for name in below for tag in self.tags(name)]

    def _answers(self) -> bool:
        host, _, port = self.name.partition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

"""A Flower in a process of its own, asked as a browser or a monitor asks it."""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

USER, PASSWORD = "checkpoints", "p@ss w:rd"
DIRECT = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Flower:
    """Flower in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def status(self, path: str, *, user: str | None = None, password: str = PASSWORD) -> int:
        """Ask for a page, as somebody or as nobody; return the HTTP status."""
        return self._ask(path, f"{user}:{password}" if user else None)[0]

    def get(self, path: str) -> str:
        """Return a page as an operator gets it."""
        status, text = self._ask(path, f"{USER}:{PASSWORD}")
        assert status == 200, (path, status, text)
        return text

    def task(self, id_: str) -> dict[str, Any] | None:
        """Return what the API says of a task; None: it does not know it."""
        status, text = self._ask(f"/api/task/info/{id_}", f"{USER}:{PASSWORD}")
        return json.loads(text) if status == 200 else None

    def tasks(self, **query: str) -> dict[str, dict[str, Any]]:
        """Return the tasks that the API lists, by their ids."""
        return json.loads(self.get("/api/tasks?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())))

    def state(self, id_: str) -> str | None:
        """Return the state of a task."""
        task = self.task(id_)
        return task["state"] if task else None

    def hears(self) -> set[str]:
        """Return the workers whose heartbeats have come."""
        return {worker["hostname"] for worker in json.loads(self.get("/workers?json=1"))["data"]}

    def post(self, path: str) -> int:
        """Press a button as an operator; return the HTTP status."""
        return self._ask(path, f"{USER}:{PASSWORD}", data=b"")[0]

    def _ask(self, path: str, credentials: str | None, *, data: bytes | None = None) -> tuple[int, str]:
        request = Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        if credentials:
            request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
        try:
            with DIRECT.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

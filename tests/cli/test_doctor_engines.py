"""`checkpoints doctor` on engines: does each work, with what, and what does this machine forbid it."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from threading import Thread

import pytest
from command_line import checkpoints

from shared.settings import Settings
from tests.criu import criu_path, why_not_criu
from workers.cli.doctor.engines import rights

Found = dict[str, tuple[str, str]]
MAKES_THEM: dict[str, object] = {"ServerVersion": "20.10.24", "ExperimentalBuild": True}
PAUSES: dict[str, object] = MAKES_THEM | {"ExperimentalBuild": False}


def doctor(settings: Settings, **environment: str) -> Found:
    """Return doctor's verdict and finding on each thing."""
    done = checkpoints(settings, "doctor", "--json", **environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["about"]: (line["verdict"], line["found"]) for line in lines}


def test_it_says_which_criu_there_is(settings: Settings) -> None:
    """With its version, and what it says of the kernel and of our rights."""
    if (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")

    found = doctor(settings, CHECKPOINT_ENGINES="process", CHECKPOINT_CRIU_PATH=criu_path())

    assert found["engine process"] == ("ok", "works")
    version, _, path = found["criu"][1].partition(", ")
    assert version[0].isdecimal()
    assert path == criu_path()
    assert "soft-dirty tracking" in found["kernel"][1]
    assert "rights" in found


def test_an_engine_that_does_not_work_hides_no_other(settings: Settings, tmp_path: Path) -> None:
    """Each has a line of its own, which says what is missing."""
    found = doctor(
        settings,
        CHECKPOINT_ENGINES="process,docker,simulate",
        CHECKPOINT_CRIU_PATH="/nowhere/criu",
        DOCKER_HOST=f"unix://{tmp_path}/none.sock",
    )

    assert found["engine process"][0] == "fail"
    assert "/nowhere/criu cannot be started" in found["engine process"][1]
    assert "criu" not in found
    assert found["engine docker"][0] == "fail"
    assert "does not answer" in found["engine docker"][1]
    assert found["engine simulate"][0] == "ok"


@pytest.mark.parametrize(
    ("info", "mode", "verdict"), [(MAKES_THEM, "auto", "ok"), (PAUSES, "auto", "warn"), (PAUSES, "pause", "ok")]
)
def test_it_says_whether_docker_gives_memory_back(
    settings: Settings, tmp_path: Path, info: dict[str, object], mode: str, verdict: str
) -> None:
    """A daemon that only pauses is warned of, unless it is meant so."""
    with a_docker_that_says(tmp_path / "docker.sock", info):
        found = doctor(
            settings,
            CHECKPOINT_ENGINES="docker",
            CHECKPOINT_DOCKER_MODE=mode,
            DOCKER_HOST=f"unix://{tmp_path}/docker.sock",
        )

    assert found["engine docker"][0] == verdict
    assert "Docker 20.10.24" in found["engine docker"][1]
    assert ("no memory back" in found["engine docker"][1]) == (verdict == "warn")


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [
        ("000001ffffffffff", []),
        ("000001fffeffffff", ["CAP_SYS_RESOURCE is missing"]),
        ("0000000000000000", ["CAP_CHECKPOINT_RESTORE is missing", "CAP_SYS_RESOURCE is missing"]),
        ("0000010001000000", []),
        ("0000000001200000", []),  # before Linux 5.9 CAP_SYS_ADMIN was what it took
    ],
)
def test_it_says_which_capability_is_missing(capabilities: str, missing: list[str]) -> None:
    """As of what is in force, not of what could be had."""
    lines = list(rights(f"CapPrm:\t000001ffffffffff\nCapEff:\t{capabilities}\n"))

    assert [line.found for line in lines if line.verdict != "ok"] == missing
    assert all(line.to_do for line in lines if line.verdict != "ok")
    assert len(lines) == max(1, len(missing))


@contextmanager
def a_docker_that_says(path: Path, info: dict[str, object]) -> Generator[None]:
    """Answer on a socket as a daemon does that is asked for its version, then for what it is."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(info if self.path.endswith("/info") else {"ApiVersion": "1.41"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the name that it has above
            """Say nothing."""

    with UnixStreamServer(str(path), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()

"""Flower shows what runs are called: only to whoever has its password, and nobody can change anything through it."""

import subprocess
import sys

import pytest
from flower_process import USER, Flower
from system import System, environment_of

from shared.errors import Misconfigured
from shared.settings import Settings
from workers.cli.flower import Where
from workers.cli.kinds import WorkerKind

PAGES = ["/", "/workers?json=1", "/tasks", "/task/x", "/broker", "/api/tasks", "/api/task/info/x", "/metrics"]


def test_only_the_password_opens_it(flower: Flower) -> None:
    """Every page, the API and the metrics are closed to everybody else; the health check says nothing but OK."""
    for page in PAGES:
        assert flower.status(page) == 401, page
        assert flower.status(page, user=USER, password=USER) == 401, page
        assert flower.status(page, user=USER) in {200, 404}, page
    assert flower.get("/healthcheck") == "OK"


def test_nobody_can_stop_a_worker_through_it(watched: System, flower: Flower) -> None:
    """Not even an operator: what is to be stopped or called off is so by Postgres."""
    [worker] = [name for name in flower.hears() if name.startswith("resume.")]

    assert flower.post(f"/api/worker/shutdown/{worker}") == 403

    assert watched.processes(WorkerKind.RESUME)[0].poll() is None


def test_without_a_password_it_does_not_start(settings: Settings) -> None:
    """Its operator is told what to set."""
    environment = environment_of(settings) | {"CHECKPOINT_FLOWER_URL": "http://127.0.0.1:5555"}
    command = [sys.executable, "-m", "workers.cli.main", "worker", "flower"]

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 2
    assert "never starts without a password" in ended.stderr


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1:5555",
        "http://user@127.0.0.1:5555",
        "http://user:@127.0.0.1:5555",
        "http://:password@127.0.0.1:5555",
        "http://user:password@127.0.0.1",
        "http://user:password@127.0.0.1:five",
        "http://user:password@[::1:5555",
        "http://user:pass,word@127.0.0.1:5555",
        "http://us%3Aer:password@127.0.0.1:5555",
    ],
)
def test_an_incomplete_address_is_refused(url: str) -> None:
    """Also a password that Flower would take for two."""
    with pytest.raises(Misconfigured, match="CHECKPOINT_FLOWER_URL"):
        Where.read(url)


def test_a_password_may_hold_any_other_character() -> None:
    """Written in the URL as URLs write it."""
    assert Where.read("http://us%40er:p%40ss%3Aw%2Frd@127.0.0.1:5555") == Where("127.0.0.1", 5555, "us@er", "p@ss:w/rd")

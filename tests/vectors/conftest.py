"""Systems driven by hand, moments inside a story, and programs that stand for an engine's work."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import AtEffect, ByHand

from shared.client import Checkpoints
from shared.seam import listen
from shared.settings import Settings
from workers.cli.postgres_server import postgres_server
from workers.cli.servers import EmbeddedServer
from workers.node.node import Node


@pytest.fixture
def hand(node: Node, client: Checkpoints) -> ByHand:
    """A system whose workers act when they are told to."""
    return ByHand(node, client)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Postgres that the test may kill."""
    server = postgres_server(tmp_path / "postgres", fast=True)
    server.start()
    server.wait_ready()
    yield server
    server.stop()


@pytest.fixture
def at_effect() -> Iterator[AtEffect]:
    """Do something when a story of this process first passes an effect, before it goes on."""

    def arrange(name: str, work: Callable[[], object]) -> None:
        def heard(effect: str) -> None:
            if effect == name:
                listen(None)  # the work itself may pass it too
                work()

        listen(heard)

    yield arrange
    listen(None)


@pytest.fixture
def engine_folder(tmp_path: Path) -> Path:
    """A folder in which the engine's program works."""
    folder = tmp_path / "engine"
    folder.mkdir()
    return folder


@pytest.fixture
def engine_script() -> str:
    """What the engine's program does, in shell; a module that has one of its own says so."""
    return ""


@pytest.fixture
def settings(settings: Settings, engine_script: str, engine_folder: Path) -> Settings:
    """Settings with a program that stands for the engine's dump and store, if there is one."""
    command = ["sh", "-c", f'cd "$0" || exit 1\n{engine_script}', str(engine_folder)] if engine_script else []
    return settings.model_copy(update={"simulate_command": command})

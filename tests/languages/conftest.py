"""Upstreams that share no code with the project: each speaks the bytes of the contract."""

from collections.abc import Iterator

import pytest
from drained import drained

from shared.settings import Settings
from workers.node.node import Node


@pytest.fixture
def drains(settings: Settings, node: Node) -> Iterator[None]:
    """Both drains at work, on a node that was seen."""
    _ = node
    with drained(settings):
        yield

"""A system driven by hand, and the queues beside it."""

import pytest
from by_hand import ByHand
from message_door import MessageDoor

from shared.client import Checkpoints
from shared.connections import Connections
from workers.node.node import Node


@pytest.fixture
def hand(node: Node, client: Checkpoints) -> ByHand:
    """A system whose workers act when they are told to."""
    return ByHand(node, client)


@pytest.fixture
def message_door(connections: Connections) -> MessageDoor:
    """The queues, handled at once."""
    return MessageDoor(connections)

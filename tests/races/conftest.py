"""What races need: the stories of all workers, called in process."""

import pytest

from shared.connections import Connections
from tests.races.in_process import Workers


@pytest.fixture
def workers(connections: Connections) -> Workers:
    """The stories of all workers on the test's own servers."""
    return Workers(connections)

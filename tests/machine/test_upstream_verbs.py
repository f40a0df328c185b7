"""Whatever an upstream says and whatever is lost: after each step the rules hold, and every wait comes to its end."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from runs import Run

from tests.machine.verbs import UpstreamVerbs
from tests.machine.workers_model import WorkersModel
from workers.node.node import Node


def play(node: Node, a_run: Callable[[], Run], *, examples: int, steps: int, is_always_the_same: bool) -> None:
    """Play so many random stories of so many steps; the shortest that fails is shown, step by step."""

    class OnTheseServers(UpstreamVerbs):
        workers = WorkersModel(node)
        processes = (a_run(), a_run())

    run_state_machine_as_test(
        OnTheseServers,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=is_always_the_same,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )


@pytest.mark.timeout(600)
def test_every_wait_comes_to_its_end(node: Node, a_run: Callable[[], Run]) -> None:
    """Short stories, always the same."""
    play(node, a_run, examples=100, steps=40, is_always_the_same=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_wait_of_a_long_story_comes_to_its_end(node: Node, a_run: Callable[[], Run]) -> None:
    """Longer ones, others each time; the seed is printed when one fails."""
    play(node, a_run, examples=1_500, steps=80, is_always_the_same=False)

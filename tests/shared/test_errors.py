"""The error tree: every error survives the pickling of a Celery pool, with its code and its facts."""

import pickle
import re
from collections.abc import Iterator

import pytest

import shared.db.readiness
import workers.cli.up
from shared.errors import DeferredCheckpointError, Refused

_ = (shared.db.readiness, workers.cli.up)  # they have errors of their own


def tree(root: type[DeferredCheckpointError]) -> Iterator[type[DeferredCheckpointError]]:
    """Yield an error and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ALL = sorted(set(tree(DeferredCheckpointError)), key=lambda error: (error.__module__, error.__name__))


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_an_error_survives_pickling(error: type[DeferredCheckpointError]) -> None:
    """Its message, its code and its facts arrive."""
    raised = error("it went wrong", pid=7, where=["a"])

    arrived = pickle.loads(pickle.dumps(raised))  # noqa: S301  # our own bytes

    assert type(arrived) is error
    assert str(arrived) == arrived.message == "it went wrong"
    assert (arrived.code, arrived.facts) == (raised.code, {"pid": 7, "where": ["a"]})


def test_a_refusal_keeps_its_own_code() -> None:
    """The contract's code is the instance's, not the class's."""
    arrived = pickle.loads(pickle.dumps(Refused("no", code="run-over", run_id="r")))  # noqa: S301  # our own bytes

    assert (arrived.code, arrived.facts) == ("run-over", {"run_id": "r"})


def test_codes_are_words_for_machines() -> None:
    """In kebab-case: they never change, and go into logs and JSON."""
    assert [error.code for error in ALL if not re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)] == []

"""The tables of bad inputs, held against the Python client: refused before anything is written or sent."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
import psycopg
import pytest
from bad_completions import BAD_CANCELS, BAD_COMPLETIONS
from bad_defers import BAD_DEFERS
from bad_input import Bad
from databases import a_database
from sql_door import Door, SqlDoor

from shared.broker import connect, run
from shared.client import Cancel, CancelCause, Checkpoints, Complete, Defer, Dependency, Refused, Workload
from shared.messages import Message
from shared.settings import Settings

TYPES: Final[dict[Door, type[Message]]] = {"defer": Defer, "complete": Complete, "cancel": Cancel}
PARTS: Final[dict[Door, dict[str, type[msgspec.Struct]]]] = {
    "defer": {"dependency": Dependency, "workload": Workload},
    "complete": {},
    "cancel": {"reason": CancelCause},
}


def struct_of(door: Door, text: str) -> Message | None:
    """Return a bad message as a Python upstream can write it; None: Python itself has no such struct."""
    try:
        fields = cast("dict[str, Any]", json.loads(text))
        if not is_sayable(fields):
            return None
        parts: dict[str, Any] = {
            name: type_(**fields[name]) for name, type_ in PARTS[door].items() if is_object(fields.get(name))
        }
        return TYPES[door](**(fields | parts))
    except (TypeError, AttributeError, ValueError, RecursionError):
        # No object, an unknown field, a missing one, a workload that is none; text that is no JSON.
        return None


def is_object(value: object) -> bool:
    """Return whether a value is a JSON object."""
    return isinstance(value, dict)


def is_sayable(fields: Mapping[str, object]) -> bool:
    """Return whether Python's own encoders say a message as it is: not a number that is none, nor half a character."""
    with suppress(UnicodeEncodeError):
        json.dumps(fields, ensure_ascii=False).encode()
        return not any(isinstance(one, float) and not math.isfinite(one) for one in fields.values())
    return False


TABLES: Final[dict[Door, list[Bad]]] = {"defer": BAD_DEFERS, "complete": BAD_COMPLETIONS, "cancel": BAD_CANCELS}
CASES: Final = [(door, case) for door, table in TABLES.items() for case in table if struct_of(door, case.text)]


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    """Settings that the tests share: none of them writes or sends anything."""
    with a_database() as url:
        yield Settings.model_validate(
            {"database_url": url, "broker_url": os.environ["TESTS_BROKER_URL"], "key_prefix": f"{uuid4().hex}:"}
        )


@pytest.fixture(scope="module")
def clients(settings: Settings) -> Iterator[tuple[Checkpoints, Checkpoints]]:
    """A client with a database, and one over the broker alone."""
    with Checkpoints(settings) as one, Checkpoints(settings, uses_database=False) as other:
        yield one, other


@pytest.mark.parametrize(("door", "case"), CASES, ids=str)
def test_the_client_refuses_it_by_name(
    door: Door, case: Bad, clients: tuple[Checkpoints, Checkpoints], settings: Settings
) -> None:
    """`Refused` with the code and the field, with a database and without; nothing is written, nothing sent."""
    for client in clients:
        with pytest.raises(Refused) as refused:
            getattr(client, door)(struct_of(door, case.text))

        assert (refused.value.code, refused.value.facts.get("field")) == (case.code, case.field)
        assert "expected" in refused.value.message
    with psycopg.connect(settings.database_url.get_secret_value()) as conn:
        assert SqlDoor(conn).counts() == (0, 0, 0, 0)
    with connect(settings) as redis:
        assert run(redis, ("KEYS", f"{settings.key_prefix}*")) == [[]]


def test_most_of_the_tables_can_be_said_in_python() -> None:
    """What is left out is no JSON, an unknown field, a missing one, or a workload that is none."""
    assert len(CASES) > 150

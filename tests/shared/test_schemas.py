"""The published JSON Schemas are those of the types, and say what the types say."""

import json
from pathlib import Path

import pytest
from recorded import Recorded, recorded

from shared.queues import TaskName
from shared.schemas import TYPES, schema, write

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema"


@pytest.mark.parametrize("task", TYPES)
def test_the_published_schema_is_that_of_the_type(task: TaskName) -> None:
    """A type that changes changes what other languages make their messages from; `make schema` writes it."""
    assert json.loads((PUBLISHED / f"{task}.json").read_text(encoding="utf-8")) == schema(task)


def test_nothing_else_is_published() -> None:
    """A message that is gone leaves no schema behind."""
    assert {file.stem for file in PUBLISHED.iterdir()} == set(TYPES)


def test_they_are_written_as_they_are_published(tmp_path: Path) -> None:
    """`make schema` changes no byte while no type has changed."""
    write(tmp_path / "schema")

    written = {file.name: file.read_bytes() for file in (tmp_path / "schema").iterdir()}
    assert written == {file.name: file.read_bytes() for file in PUBLISHED.iterdir()}


@pytest.mark.parametrize("task", TYPES)
def test_a_schema_stands_alone(task: TaskName) -> None:
    """Every reference is answered in the same file."""
    text = json.dumps(schema(task))
    defined = {f"#/$defs/{name}" for name in schema(task)["$defs"]}

    assert schema(task)["title"] == task
    assert {part.split('"')[0] for part in text.split('"$ref": "')[1:]} <= defined


@pytest.mark.parametrize("one", [one for one in recorded() if one.task in set(TYPES)], ids=str)
def test_a_recorded_message_has_only_fields_of_its_schema(one: Recorded) -> None:
    """And every field that the schema requires."""
    whole = schema(TaskName(one.task))
    message = whole["$defs"][whole["$ref"].rpartition("/")[2]]

    assert message["additionalProperties"] is False
    assert set(message["required"]) <= set(one.fields) <= set(message["properties"])

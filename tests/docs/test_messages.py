"""The page `docs/messages.md`: its recorded bytes are what this release sends and understands."""

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import pytest

from shared.letters import Letter, open_letter
from shared.messages import Complete, Continue, Defer, Done, Message, Prepare, Ready, Refused, Taken, Unreachable
from shared.post import envelope
from shared.queues import TaskName

PAGE: Final = Path(__file__).parents[2] / "docs" / "messages.md"
TYPES: Final[dict[TaskName, type[Message]]] = {
    TaskName.DEFER: Defer,
    TaskName.READY: Ready,
    TaskName.COMPLETE: Complete,
    TaskName.DONE: Done,
    TaskName.CONTINUE: Continue,
    TaskName.PREPARE: Prepare,
    TaskName.REFUSED: Refused,
    TaskName.UNREACHABLE: Unreachable,
    TaskName.TAKEN: Taken,
}
TO_US: Final = (TaskName.DEFER, TaskName.READY, TaskName.COMPLETE, TaskName.DONE)
FROM_US: Final = (TaskName.CONTINUE, TaskName.PREPARE, TaskName.REFUSED, TaskName.TAKEN, TaskName.UNREACHABLE)


def example(task: TaskName) -> tuple[str, dict[str, Any]]:
    """Return the item that the page shows for a message, and the fields beside it."""
    found = re.search(
        rf"^### {re.escape(task)} .*?^```json\n(.*?)\n(.*?)\n```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1], json.loads(found[2])


@pytest.mark.parametrize("task", TYPES)
def test_the_fields_beside_an_item_are_those_in_it(task: TaskName) -> None:
    """Whoever decodes the body finds what the page says."""
    item, fields = example(task)

    whole = json.loads(item)

    assert whole["headers"]["task"] == task
    assert json.loads(b64decode(whole["body"])) == [[], fields, {}]


@pytest.mark.parametrize("task", TO_US)
def test_an_item_of_an_upstream_is_understood(task: TaskName) -> None:
    """As the page shows it, and without all that the page calls not read."""
    item, fields = example(task)
    whole = json.loads(item)
    least = {"headers": {"task": task, "id": "1"}, "body": json.dumps([[], fields, {}])}

    opened = [open_letter(raw.encode(), queue="any", types=TYPES) for raw in (item, json.dumps(least))]

    letters = [one for one in opened if isinstance(one, Letter)]
    assert [letter.id for letter in letters] == [whole["headers"]["id"], "1"]
    assert letters[0].message == letters[1].message == msgspec.convert(fields, TYPES[task])


@pytest.mark.parametrize("task", FROM_US)
def test_an_item_of_ours_is_what_this_release_sends(task: TaskName) -> None:
    """The same fields, in an envelope of the same shape."""
    item, fields = example(task)
    whole = json.loads(item)

    message = msgspec.convert(fields, TYPES[task])
    sent = json.loads(envelope(task, message, task_id="1", queue=whole["properties"]["delivery_info"]["routing_key"]))

    assert msgspec.to_builtins(message) == fields
    assert shape(sent) == shape(whole)


def shape(value: Any) -> Any:
    """Return a JSON value with the names of its fields alone."""
    return {name: shape(one) for name, one in cast("dict[str, Any]", value).items()} if isinstance(value, dict) else 0

"""Messages as they were recorded, and as the documentation shows them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
DOCUMENTED = TESTS.parent / "docs" / "messages.md"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message.

    Args:
        task: What it is.
        says: Which of its forms.
        fields: What it says.
        item: As it lay in Redis.
    """

    task: str
    says: str
    fields: dict[str, Any]
    item: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.task}: {self.says}"

    @property
    def raw(self) -> bytes:
        """The bytes as they lay in Redis."""
        return json.dumps(self.item).encode()


def recorded() -> list[Recorded]:
    """Return every recorded message."""
    files = sorted((TESTS / "messages").glob("*.json"))
    return [Recorded(file.stem, **one) for file in files for one in json.loads(file.read_text(encoding="utf-8"))]


def documented() -> list[Recorded]:
    """Return the messages that the documentation shows: in a block of JSON first the item, then its fields."""
    blocks = DOCUMENTED.read_text(encoding="utf-8").split("```json\n")[1:]
    pairs = [block.partition("\n```")[0].splitlines() for block in blocks]
    return [
        Recorded(json.loads(item)["headers"]["task"], "as documented", json.loads(fields), json.loads(item))
        for item, fields in pairs
    ]

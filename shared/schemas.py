"""JSON Schema of every message, made from the types: `python -m shared.schemas FOLDER` writes one file each."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.messages import (
    Cancel,
    Complete,
    Continue,
    Defer,
    Done,
    Message,
    Prepare,
    Ready,
    Refused,
    Taken,
    Unreachable,
)
from shared.queues import TaskName

TYPES: Final[dict[TaskName, type[Message]]] = {
    TaskName.DEFER: Defer,
    TaskName.CANCEL: Cancel,
    TaskName.READY: Ready,
    TaskName.COMPLETE: Complete,
    TaskName.DONE: Done,
    TaskName.CONTINUE: Continue,
    TaskName.PREPARE: Prepare,
    TaskName.REFUSED: Refused,
    TaskName.UNREACHABLE: Unreachable,
    TaskName.TAKEN: Taken,
}


def schema(task: TaskName) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a message that crosses the border of this project."""
    made = msgspec.json.schema(TYPES[task])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": str(task)} | made


def write(folder: Path) -> None:
    """Write the schema of every message into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for task in TYPES:
        text = json.dumps(schema(task), indent=2, ensure_ascii=False)
        (folder / f"{task}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

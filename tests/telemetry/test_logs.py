"""One event a line: JSON for machines, text on a terminal; nothing in it harms who reads it, or tells a password."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SAID = Path(__file__).parent / "said.py"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800]")
COLOUR = re.compile(r"\x1b\[\d+(;\d+)*m")


def lines(name: str) -> list[str]:
    """Return what a process says on standard error."""
    ended = subprocess.run(
        [sys.executable, SAID, name], env=environment(), capture_output=True, check=False, timeout=60
    )
    assert ended.stdout == b""
    return ended.stderr.decode().splitlines()


def on_a_terminal(name: str) -> str:
    """Return what a process shows where standard error is a terminal."""
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, SAID, name], env=environment(), stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # all who could write are gone
                break
            shown += part
        process.wait(timeout=60)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def environment() -> dict[str, str]:
    """Return an environment in which this repository is found."""
    return os.environ | {"PYTHONPATH": str(SAID.parents[2]), "NO_COLOR": "", "FORCE_COLOR": "1"}


def parsed(name: str) -> list[dict[str, Any]]:
    """Return a process's lines, each of which has to be JSON."""
    return [json.loads(line) for line in lines(name)]


def test_a_line_is_json_where_nobody_looks_on() -> None:
    """With its level, its moment in UTC, and the kind of worker."""
    [line] = parsed("facts")

    moment = line.pop("timestamp")
    assert moment.endswith("Z")
    assert line == {
        "event": "checkpoint.accepted",
        "level": "info",
        "worker": "resume",
        "run_id": "run-1",
        "epoch": 2,
    }


def test_a_line_is_for_people_on_a_terminal() -> None:
    """The same, as text."""
    shown = COLOUR.sub("", on_a_terminal("facts"))

    assert "checkpoint.accepted" in shown
    assert "run_id=run-1" in shown
    assert "{" not in shown


def test_no_control_character_leaves_a_machine_readable_log() -> None:
    """A name that an upstream chose cannot begin a line of its own; what it was can be read back exactly."""
    event, error = parsed("nasty")

    assert CONTROL.search("".join(lines("nasty"))) is None
    assert event["run_id"].startswith("run-\x1b[31m\r\nfake\x7f\x9b")
    assert "ValueError" in error["exception"]


def test_no_control_character_reaches_a_terminal() -> None:
    """It is shown as text: neither colours nor new lines are an upstream's to choose."""
    shown = COLOUR.sub("", on_a_terminal("nasty").replace("\\x1b[31m", "<seen>"))

    assert CONTROL.search(shown) is None
    assert not any(line.startswith("fake") for line in shown.splitlines())
    assert shown.count("<seen>") >= 5


def test_no_password_is_logged() -> None:
    """Neither as a fact, nor in an object or an error, nor by a library; not even where no URL shows what it is."""
    said = lines("secret")

    assert len(said) == 3
    assert "s3cret" not in "".join(said)
    assert "s3cret" not in on_a_terminal("secret")
    assert json.loads(said[0])["inside"] == {"list": ["redis://me:***@host:6379/0"]}


def test_lines_of_libraries_come_through_the_same_door() -> None:
    """Each says which library it is; what it says beside is kept."""
    said = parsed("libraries")

    assert [line["event"] for line in said[:-1]] == [f"from {line['logger']}" for line in said[:-1]]
    assert {line["logger"] for line in said} >= {"celery.worker", "kombu", "redis", "psycopg.pool", "py.warnings"}
    assert all(line["level"] == "warning" and line["worker"] == "resume" for line in said)
    assert said[0]["more"] == 1


def test_what_nobody_caught_is_a_line_too() -> None:
    """Of a thread and of the process; no traceback stands among the lines, and none tells a password."""
    thread, process = parsed("crash")

    assert (thread["event"], thread["thread"]) == ("thread.crashed", "worker-7")
    assert process["event"] == "process.crashed"
    for line in (thread, process):
        assert line["level"] == "critical"
        assert "RuntimeError: lost redis://me:***@host:6379/0" in line["exception"]


@pytest.mark.parametrize("name", ["facts", "nasty"])
def test_nothing_but_lines_is_written(name: str) -> None:
    """Every line on its own is an event."""
    assert all("event" in json.loads(line) for line in lines(name))

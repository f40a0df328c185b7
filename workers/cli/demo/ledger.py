"""The runs' own ledgers, and what they prove: each wait went on exactly once, with the right result."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from shared.vocabulary import Mode

WaitId: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a ledger: what the process of a run was told about one of its waits."""

    wait: WaitId
    went_on: bool
    mode: str
    outcome: Any


def read_ledgers(folder: Path) -> list[Entry]:
    """Read what all runs wrote, each in a folder of its name; a line that was cut short counts as none."""
    return [
        _entry(ledger.parent.name, line)
        for ledger in sorted(folder.glob("*/ledger"))
        for line in ledger.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _entry(run: str, line: str) -> Entry:
    what, number, mode, outcome = line.rstrip("\n").split("\t")
    return Entry((run, int(number)), what == "went-on", mode, msgspec.json.decode(outcome))


def problems(entries: Sequence[Entry], expected: Mapping[WaitId, Any]) -> list[str]:
    """Return what is wrong, a sentence each; nothing if every wait went on exactly once with its own result.

    Args:
        entries: What the runs wrote.
        expected: The result of each wait, as the platform had it from the task.
    """
    outcomes: defaultdict[WaitId, list[Any]] = defaultdict(list)
    for entry in entries:
        if entry.went_on:
            outcomes[entry.wait].append(entry.outcome)
    found = [
        f"{_name(wait)} went on {len(outcomes[wait])} times; expected once"
        for wait in expected
        if len(outcomes[wait]) != 1
    ]
    found += [f"{_name(wait)} went on, and no such wait was registered" for wait in outcomes if wait not in expected]
    found += [
        f"{_name(wait)} went on with {got!r}; expected {expected[wait]!r}"
        for wait, all_got in outcomes.items()
        if wait in expected
        for got in all_got
        if got != expected[wait]
    ]
    return found


def repeats(entries: Sequence[Entry]) -> int:
    """Return how many continuations came again and were ignored."""
    return sum(not entry.went_on for entry in entries)


def example(entries: Sequence[Entry]) -> str | None:
    """Return a run that was frozen and came back, or any; None: no run went on."""
    runs = sorted(entries, key=lambda entry: entry.mode != Mode.RESTORED)
    return runs[0].wait[0] if runs else None


def _name(wait: WaitId) -> str:
    run, number = wait
    return f"wait {number} of {run}"

"""What a demo says at its end: numbers, what was checked, and where to look further."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shared.db.demo import Waits
from shared.vocabulary import EngineName, Mode
from workers.cli.demo.memory import Held, megabytes


@dataclass(frozen=True, slots=True)
class Latency:
    """From the call of `complete` to the moment the run's process had its continuation, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A demo's outcome; without problems it is a success."""

    runs: int
    seconds: float
    engine: EngineName
    waits: Waits
    memory: Held
    repeats_ignored: int
    latency: Mapping[str, Latency]
    problems: Sequence[str]
    example_run: str

    def to_json(self) -> str:
        """Return it for machines."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()


def latency(seconds: Sequence[float]) -> Latency | None:
    """Return the nearest-rank percentiles; None: nothing was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return round(1000 * ordered[math.ceil(share * len(ordered)) - 1], 1)

    return Latency(len(ordered), percentile(0.5), percentile(0.99))


def lines(summary: Summary, *, up_env: Path | None, is_own: bool) -> list[str]:
    """Return the summary for people.

    Args:
        summary: What to say.
        up_env: The file that names the system; None: the environment does.
        is_own: Whether the demo started the system, which is stopped by now.
    """
    waits = summary.waits
    rows: list[tuple[str, Any, str]] = [
        ("waits", waits.waits, f"of {summary.runs} runs, in {summary.seconds:.1f} s"),
        ("  called off in the delay", waits.called_off, "they ended first; nothing was touched"),
        ("  no checkpoint planned", waits.not_planned, "over already, or a time too near to be worth one"),
        ("  refused", waits.refused, "they ended while their checkpoint was being taken: thawed, continued live"),
        ("  frozen", waits.frozen, "they outlived the delay"),
        ("    restored", waits.restored, "they ended later; the run came back"),
        ("slot-seconds freed", f"{waits.slot_seconds:.1f}", "while frozen, a run's slot was another's"),
        *_memory(summary),
    ]
    if waits.failed:
        rows.insert(4, ("  failed", waits.failed, "no checkpoint could be taken; continued live"))
    width = max(len(str(value)) for _, value, _ in rows)
    table = [f"{name:<26} {value!s:>{width}}  {note}" for name, value, note in rows]
    return ["", *table, "", *_latencies(summary), "", *_verdict(summary), "", *_further(summary, up_env, is_own=is_own)]


def _memory(summary: Summary) -> list[tuple[str, Any, str]]:
    waits, before, frozen = summary.waits, summary.memory.before_bytes, summary.memory.frozen_bytes
    if summary.engine is not EngineName.PROCESS:
        return [("memory given back", "none", f"the engine `{summary.engine}` only pauses processes")]
    return [
        (
            "memory given back",
            f"{megabytes(before - frozen)} MB",
            f"{waits.restored} freezes: {megabytes(before)} MB resident before, {megabytes(frozen)} MB while frozen",
        ),
        (
            "  kept in images",
            f"{megabytes(waits.image_bytes)} MB",
            f"of {megabytes(waits.dump_bytes)} MB that CRIU dumped; deleted after the restore",
        ),
    ]


def _latencies(summary: Summary) -> list[str]:
    return [
        "from completion to continuation, as the runs' processes saw it (live: also those that had to be thawed):"
    ] + [
        f"  {mode:<9} p50 {one.p50_ms:g} ms, p99 {one.p99_ms:g} ms  ({one.count} waits)"
        for mode in Mode
        if (one := summary.latency.get(mode))
    ]


def _verdict(summary: Summary) -> list[str]:
    if summary.problems:
        return ["WRONG:", *(f"  {problem}" for problem in summary.problems)]
    waits, repeats = summary.waits.waits, summary.repeats_ignored
    return [
        "checked in the runs' own ledgers:",
        f"  each of {waits} waits went on exactly once, with its own result ({repeats} repeats ignored);",
        "  no process stands still or is left, and no row has work left to do.",
    ]


def _further(summary: Summary, up_env: Path | None, *, is_own: bool) -> list[str]:
    found = ["look further:"]
    if is_own and up_env:
        found.append(f"  checkpoints up --data {shlex.quote(str(up_env.parent))} &    # with the same rows")
    if up_env:
        found.append(f"  set -a; . {shlex.quote(str(up_env))}    # names Postgres, and Flower with its password")
    timeline = "SELECT at, event, detail FROM run_timeline WHERE run_id = "  # printed, not run
    found.append(f"""  psql "$CHECKPOINT_DATABASE_URL" -c "{timeline}'{summary.example_run}' ORDER BY at" """.rstrip())
    return found

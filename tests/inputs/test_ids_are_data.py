"""Ids of upstreams are data: shown as they were said, and never a path, an argument or a word of a command."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from runs import Run
from system import System
from upstream import Upstream, a_wait
from waiting import wait_until

from shared.client import Complete, Dependency
from shared.settings import Settings
from shared.vocabulary import Mode, OutcomeType
from workers.node.lock import AGENT_NAME, NAME_LENGTH

# Each with what would show that a shell, a path or a terminal had read it.
IDS: Final = {
    "200 characters of four bytes": "\U0001f600" * 200,
    "a path": "../../etc",
    "a path from the root": "/etc/passwd",
    "a shell's command": "; rm -rf /",
    "a shell's expansion": "$(id)",
    "an option": "--help",
    "a format": "%s %(x)s {0} {x}",
    "SQL": "'; DROP TABLE dependency; --",
    "markup": "<script>alert(1)</script>",
    "right to left": "\u202eabc",
}
# Each file of the kernel about the engine's program, and what lies where the node's locks are.
SCRIPT: Final = """
for file in cmdline environ; do tr '\\0' '\\n' < /proc/$$/$file > $file-$$; done
ls -A ../locks > locks-$$
"""


@pytest.fixture
def engine_folder(tmp_path: Path) -> Path:
    """The folder in which the engine's program works, beside that of the locks."""
    folder = tmp_path / "engine"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(settings: Settings, engine_folder: Path) -> Settings:
    """Settings with an engine's program that writes down how it was started."""
    command = ["sh", "-c", f'cd "$0" || exit 1\n{SCRIPT}', str(engine_folder)]
    return settings.model_copy(update={"simulate_command": command})


def test_an_id_of_any_characters_goes_through_all_and_into_no_command(
    system: System,
    settings: Settings,
    upstream: Upstream,
    a_run: Callable[[], Run],
    engine_folder: Path,
    tmp_path: Path,
) -> None:
    """Run, dependency and key: frozen by a real command, restored and continued, and shown right on the way."""
    system.start()
    runs = [a_run() for _ in IDS]
    for run, name in zip(runs, IDS.values(), strict=True):
        run.id = name
        dependency = Dependency(on(name))
        upstream.client.defer(a_wait(name, run.workload, delay_ms=0, key=name, dependency=dependency))
    wait_until(lambda: len(system.rows("SELECT FROM checkpoint WHERE freed_at IS NOT NULL")) == len(IDS), seconds=60)
    for run in runs:
        completion = Complete(v=1, dependency_id=on(run.id), outcome_type=OutcomeType.SUCCESS, outcome=run.id)
        upstream.client.complete(completion)

    for run in runs:
        heard = upstream.continuation(run)
        assert (heard.run_id, heard.dependency_id, heard.mode) == (run.id, on(run.id), Mode.RESTORED)
        assert heard.outcomes is not None
        assert [(name, outcome.value) for name, outcome in heard.outcomes.items()] == [(on(run.id), run.id)]
        assert run.goes_on()
        # Only our own id and epoch.
        [row] = system.rows("SELECT id, location FROM checkpoint WHERE run_id = %s", run.id)
        assert row["location"] == f"simulate:{row['id']}-1"
        [shown] = system.rows("SELECT detail FROM run_timeline WHERE run_id = %s AND event = 'wait.registered'", run.id)
        assert shown["detail"]["dependency_id"] == on(run.id)
    commands = [path.read_text() for path in engine_folder.glob("cmdline-*")]
    assert commands == ["\n".join([*settings.simulate_command, ""])] * len(IDS)
    locks = {name for path in engine_folder.glob("locks-*") for name in path.read_text().split()}
    assert locks - {AGENT_NAME} == {hashlib.sha256(name.encode()).hexdigest()[:NAME_LENGTH] for name in IDS.values()}
    environments = [path.read_text() for path in engine_folder.glob("environ-*")]
    assert len(environments) == len(IDS)
    assert [(what, name) for what in environments for name in IDS.values() if name in what] == []
    assert {line["run_id"] for line in logged(tmp_path / "logs", "checkpoint.claimed")} == {*IDS.values()}


def on(name: str) -> str:
    """Return the id of what a run waits for: of its characters, as long as it may be, and another."""
    return name[:-1] + "x"


def logged(folder: Path, event: str) -> list[dict[str, Any]]:
    """Return what workers logged of an event."""
    lines = [line for path in folder.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    return [said for line in lines if line.startswith("{") and (said := json.loads(line))["event"] == event]

"""A worker may die right after anything that outlives it: once it is started again, the wait ends as it should.

Each case is a way that a wait goes and an effect at which the worker kills itself. The gate has a choice of them,
`make chaos` all.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from criu import stored_in, why_not_criu, with_criu
from waiting import wait_until

from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.containerd import Containerd
from tests.engines.dockerd import containers, dumps_kept, remove_containers
from tests.faults import lost_paths, paths
from tests.faults.freezable_run import FreezableContainer, FreezablePod
from tests.faults.ledger_platform import LedgerPlatform, Life
from tests.faults.paths import QUIET_SECONDS, Scene
from tests.faults.supervision import Supervision
from tests.faults.verdict import is_quiet, what_is_left
from workers.cli.kinds import WorkerKind
from workers.node.node import Node
from workers.node.settle import Settled

ROOT = Path(__file__).parents[2]
SOURCES = (*ROOT.glob("workers/checkpoint/*.py"), *ROOT.glob("workers/sweeper/*.py"), *ROOT.glob("workers/node/*.py"))
SOURCES_OF_ALL = (*SOURCES, ROOT / "workers/intake.py")
FILLED_IN = {"{story.queue}": ("deferrals", "resumes"), "{outcome}": tuple(Settled)}

CHECKPOINT, RESUME, SWEEPER = WorkerKind.CHECKPOINT, WorkerKind.RESUME, WorkerKind.SWEEPER
FALSE, GATED = "false", "gated"  # what the engine's command does


@dataclass(frozen=True, slots=True)
class Case:
    """A way that a wait goes, and where the first lives of a worker end on it."""

    path: Callable[[Scene], Life]
    kind: WorkerKind
    fatal: tuple[str, ...]
    command: str | None = None
    in_gate: bool = False
    engine: EngineName = EngineName.SIMULATE
    docker_mode: str = "checkpoint"
    before: str = "checkpoint"  # which word to docker or crictl the command is put before

    def __str__(self) -> str:
        mode = ["pause"] if self.docker_mode == "pause" else []
        return "-".join([self.engine, *mode, self.path.__name__, *self.fatal])


STANDING = [
    Case(paths.live, CHECKPOINT, ("deferrals.committed:1",), in_gate=True),
    Case(paths.live, CHECKPOINT, ("deferrals.sent:1",)),
    Case(paths.live, RESUME, ("resumes.committed:1",), in_gate=True),
    Case(paths.live, RESUME, ("resumes.sent:1",)),
    Case(paths.live, RESUME, ("resumes.committed:1", "resumes.committed:1")),
    Case(paths.through_the_sql_door, SWEEPER, ("sweep.waits-moved-on:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("deferrals.committed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.claimed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.frozen:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.stored:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.stored:1", "take.stored:1")),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.offered:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("settle.left-standing:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.freed:1",)),
    Case(paths.frozen_and_restored, RESUME, ("resumes.committed:1",)),
    Case(paths.frozen_and_restored, RESUME, ("resumes.sent:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.claimed:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.held:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.held:1", "restore.held:1")),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.permitted:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.let-run:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.continued:1",)),
    Case(paths.asked_and_answered, CHECKPOINT, ("handshake.asked:1",), in_gate=True),
    Case(paths.asked_and_answered, CHECKPOINT, ("deferrals.committed:2",), in_gate=True),
    Case(paths.asked_and_answered, CHECKPOINT, ("take.stored:1",)),
    Case(paths.asked_and_silent, CHECKPOINT, ("take.claimed:1",), in_gate=True),
    Case(paths.asked_and_silent, CHECKPOINT, ("handshake.asked:1",)),
    Case(paths.asked_and_silent, CHECKPOINT, ("handshake.closed:1",)),
    Case(paths.frozen_for_a_while, CHECKPOINT, ("agent.settled:1",)),
    Case(paths.refused, CHECKPOINT, ("take.offered:1",), GATED),
    Case(paths.refused, CHECKPOINT, ("settle.thawed:1",), GATED, in_gate=True),
    Case(paths.refused, CHECKPOINT, ("take.closed:1",), GATED),
    Case(paths.refused, CHECKPOINT, ("take.stored:1", "duty.closed:1"), GATED, in_gate=True),
    Case(paths.revoked, CHECKPOINT, ("settle.thawed:1",), GATED),
    Case(paths.revoked, CHECKPOINT, ("take.closed:1",), GATED),
    Case(paths.retried, CHECKPOINT, ("settle.thawed:1",), FALSE),
    Case(paths.retried, CHECKPOINT, ("take.put-back:1",), FALSE, in_gate=True),
    Case(paths.retried, CHECKPOINT, ("duty.closed:1",), FALSE),
    Case(paths.cancelled, CHECKPOINT, ("deferrals.committed:2",)),
    Case(paths.cancelled, CHECKPOINT, ("settle.thawed:1",)),
    Case(paths.cancelled, CHECKPOINT, ("duty.cleared:1",)),
    Case(paths.cancelled, CHECKPOINT, ("duty.discarded:1",), in_gate=True),
    Case(paths.cancelled, SWEEPER, ("sweep.checkpoints-moved-on:1",)),
    Case(lost_paths.gone, CHECKPOINT, ("restore.lost:1",), in_gate=True),
    Case(paths.on_a_silent_node, SWEEPER, ("sweep.silences-claimed:1",)),
    Case(paths.on_a_silent_node, SWEEPER, ("sweep.silence-told:1",), in_gate=True),
]
REALLY_FROZEN = [
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.claimed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.frozen:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.stored:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.stored:1", "take.stored:1")),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.offered:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("settle.killed:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.freed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.claimed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.held:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.held:1", "restore.held:1")),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.permitted:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.permitted:1", "settle.thawed:1")),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.let-run:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.continued:1",), in_gate=True),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.cleared:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.discarded:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.discarded:1", "agent.cleared:1")),
    Case(paths.killed_in_the_dump, CHECKPOINT, (), GATED, in_gate=True),
    Case(paths.refused, CHECKPOINT, ("take.offered:1",), GATED),
    Case(paths.refused, CHECKPOINT, ("settle.thawed:1",), GATED),
    Case(paths.refused, CHECKPOINT, ("duty.cleared:1",), GATED, in_gate=True),
    Case(paths.refused, CHECKPOINT, ("take.stored:1", "duty.cleared:1"), GATED),
    Case(paths.retried, CHECKPOINT, ("take.put-back:1",), FALSE),
    Case(paths.cancelled, CHECKPOINT, ("duty.cleared:1",)),
    Case(paths.cancelled_while_held, CHECKPOINT, ("restore.held:1",), in_gate=True),
    Case(paths.cancelled, CHECKPOINT, ("duty.discarded:1",)),
    Case(lost_paths.lost, CHECKPOINT, ("restore.given-back:1",)),
    Case(lost_paths.changed, CHECKPOINT, ("restore.told:1",)),
]
# Before and after each call of the engine and each commit, once.
IN_CONTAINERS = [
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.claimed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.frozen:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.stored:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.offered:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("settle.killed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.claimed:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.held:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.permitted:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.let-run:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.cleared:1",)),
    Case(paths.frozen_and_restored, CHECKPOINT, ("duty.discarded:1",)),
    Case(paths.killed_in_the_dump, CHECKPOINT, (), GATED),
    Case(paths.killed_in_the_restore, CHECKPOINT, (), GATED, before="start"),
    Case(paths.refused, CHECKPOINT, ("take.offered:1",), GATED),
    Case(paths.refused, CHECKPOINT, ("settle.thawed:1",), GATED),
    Case(paths.cancelled_while_held, CHECKPOINT, ("restore.held:1",)),
]
PAUSED = [
    Case(paths.frozen_and_restored, CHECKPOINT, ("take.frozen:1",), docker_mode="pause"),
    Case(paths.frozen_and_restored, CHECKPOINT, ("settle.left-standing:1",), docker_mode="pause"),
    Case(paths.frozen_and_restored, CHECKPOINT, ("restore.let-run:1",), docker_mode="pause"),
]
CASES = [
    *STANDING,
    *(replace(case, engine=EngineName.PROCESS) for case in REALLY_FROZEN),
    *(replace(case, engine=EngineName.DOCKER) for case in [*IN_CONTAINERS, *PAUSED]),
    *(replace(case, engine=EngineName.CRI) for case in IN_CONTAINERS),
]
ALL_CASES = [pytest.param(case, id=str(case), marks=[] if case.in_gate else [pytest.mark.chaos]) for case in CASES]


def gated(program: str, script: Path, *, word: str, command: str) -> Path:
    """Write a script before a program that runs a command first, if a word is among its arguments."""
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ncase " $* " in *" {word} "*) {command} ;; esac && exec {program} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def own_docker(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, case: Case, tmp_path: Path
) -> Iterator[Callable[[Settings, str], Settings]]:
    """Return settings with which a node offers the engine `docker`; a command comes before some of Docker's."""
    host = request.getfixturevalue("docker_host") if case.engine is EngineName.DOCKER else None

    def with_docker(settings: Settings, command: str) -> Settings:
        script = gated(shutil.which("docker") or "", tmp_path / "bin" / "docker", word=case.before, command=command)
        monkeypatch.setenv("DOCKER_HOST", host or "")
        monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
        return settings.model_copy(update={"engines": "docker", "docker_mode": case.docker_mode})

    yield with_docker
    if host is not None:
        remove_containers(host)


@pytest.fixture
def runtime(request: pytest.FixtureRequest, case: Case) -> Iterator[Containerd | None]:
    """The containerd of a case of the engine `cri`; nothing is left there."""
    if case.engine is not EngineName.CRI:
        yield None
        return
    runtime: Containerd = request.getfixturevalue("containerd")
    yield runtime
    runtime.remove_pods(*runtime.pods())


@pytest.fixture
def scene(
    settings: Settings,
    node: Node,
    tmp_path: Path,
    case: Case,
    own_docker: Callable[[Settings, str], Settings],
    runtime: Containerd | None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """A system in which nothing runs yet."""
    del node  # it was seen just now
    # As if other nodes could fetch the images: there are more duties then.
    shared = settings.model_copy(update={"image_store_shared": True})
    gate = tmp_path / "gate"
    began = gate.with_suffix(".began")
    commands = {FALSE: "false", GATED: f"touch {began}; until [ -e {gate} ]; do sleep 0.02; done"}
    command = commands.get(case.command or "", "true")
    if case.path is paths.asked_and_silent:
        settings = settings.model_copy(update={"handshake_ms": 2_000})
    if case.engine is EngineName.SIMULATE:
        own = settings.model_copy(update={"simulate_command": ["sh", "-c", command]})
    elif case.engine is EngineName.DOCKER:
        own = own_docker(shared, command)
    elif runtime is not None:
        monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", runtime.endpoint)
        its = runtime.settings(settings.work_folder)
        script = gated(its.crictl_path, tmp_path / "bin" / "crictl", word=case.before, command=command)
        own = settings.model_copy(
            update=its.model_dump(include={"cri_registry", "cri_registry_tls_verify"})
            | {"engines": "cri", "crictl_path": str(script)}
        )
    elif (why := why_not_criu()) is not None:
        pytest.skip(f"the engine process does not work here: {why}")
    else:
        own = with_criu(shared, tmp_path, script=f'[ "$1" != dump ] || {{ {command}; }} && exec "$CRIU" "$@"')
    start = partial(FreezablePod, runtime) if runtime else None
    platform = LedgerPlatform(own, tmp_path / "ledgers", start)
    one = Scene(own, platform, Supervision(own, tmp_path / "logs"), gate, {case.kind: list(case.fatal)})
    yield one
    one.workers.stop()
    platform.close()


@pytest.mark.parametrize("case", ALL_CASES)
def test_a_wait_ends_as_it_should_although_a_worker_died_at(case: Case, scene: Scene) -> None:
    """The run goes on exactly once, or not at all if it was cancelled; nothing stands, no row has work left."""
    life = case.path(scene)

    wait_until(lambda: scene.workers.starts(case.kind) > len(case.fatal), seconds=QUIET_SECONDS)
    try:
        wait_until(lambda: scene.platform.answer_all() is None and is_quiet(scene.settings), seconds=QUIET_SECONDS)
    except AssertionError as error:
        raise AssertionError(f"still to do: {what_is_left(scene.settings)}; {scene.row()}") from error
    assert life.went_on_from() == list(life.over_at if life.run.lives else {})
    assert not (life.run.lives and life.run.stands)
    assert scene.platform.problems == []
    assert stored_in(scene.settings) == []
    if isinstance(life.run, FreezableContainer):
        assert containers(life.run.host) == ([life.run.name] if life.run.lives else [])
        assert dumps_kept(life.run.host) == []
    if isinstance(life.run, FreezablePod):
        runtime = life.run.runtime
        assert runtime.containers() == ([life.run.container] if life.run.lives else [])
        assert runtime.registry.images(scene.settings.cri_registry) == []


def test_every_effect_has_a_case() -> None:
    """An effect that is added to a story is a place to die at: it has to stand in the table."""
    found: set[str] = set()
    for path in SOURCES_OF_ALL:
        for text in re.findall(r'effect\(f?"([^"]+)"\)', path.read_text(encoding="utf-8")):
            (name, values) = next(((name, values) for name, values in FILLED_IN.items() if name in text), ("", ("",)))
            found |= {text.replace(name, value) for value in values}

    assert found == {one.partition(":")[0] for case in CASES for one in case.fatal}

"""crictl's commands: called, and what they say made readable.

Source: cri-tools, docs/crictl.md. Which runtime it talks to, crictl itself is told: by /etc/crictl.yaml or
CONTAINER_RUNTIME_ENDPOINT.
"""

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.errors import EngineError, EngineUnavailable, EngineUnsupported, RunGone
from shared.settings import PREFIX
from workers.engines import processes
from workers.engines.processes import Process

# Frozen is only what carries this label.
LABEL, LABELLED = "checkpoint.workload", "1"
# On what we made ourselves: which claim restored a container, or made a pod.
CLAIM: Final = "checkpoint.claim"
RUNNING, READY = "CONTAINER_RUNNING", "SANDBOX_READY"
_ID: Final = re.compile(r"[0-9a-f]{64}")
_GONE: Final = re.compile(r"not ?found|no such image|manifest unknown|name unknown|(does|may) not exist", re.IGNORECASE)
# A registry that does not let us in says that what is there may not exist.
_DENIED: Final = re.compile(r"denied|unauthorized|authorization", re.IGNORECASE)
SAID_MAX: Final = 1_000
KNOWN_MAX: Final = 10_000


def ask(argv: Sequence[str], *, seconds: float) -> str:
    """Run a program that only looks, or whose repetition changes nothing; return what it printed.

    Raises:
        RunGone: It says that there is no such thing.
        EngineUnavailable: It failed, or reached its limit.
        EngineUnsupported: There is no such program.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        message = f"{argv[0]} cannot be started: {error.strerror}. Install it on this node or correct its path."
        raise EngineUnsupported(message, argv=list(argv)) from error
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailable(f"{argv[0]} took longer than {seconds:g} s.", argv=list(argv)) from error
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip())[-SAID_MAX:]
    raise (RunGone if _says_gone(said) else EngineUnavailable)(f"{argv[0]} failed: {said}", argv=list(argv))


def is_missing(error: EngineError) -> bool:
    """Whether a command failed since what it was to work on is not there."""
    return _says_gone(f"{error.message} {error.facts.get('output', '')}")


def _says_gone(said: str) -> bool:
    return _GONE.search(said) is not None and _DENIED.search(said) is None


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the runtime knows it.

    Attributes:
        id: Its full id.
        state: The CRI's word for it.
        pid: Of its first process.
        pod: The id of its pod sandbox.
        config: What it was made with.
        labels: Its labels.
    """

    id: str
    state: str
    pid: int
    pod: str
    config: dict[str, Any]
    labels: dict[str, str]

    @property
    def is_labelled(self) -> bool:
        """Whether it was started as a workload."""
        return self.labels.get(LABEL) == LABELLED

    def process(self) -> Process | None:
        """Return its first process; None when that has ended, or was never started."""
        stat = processes.read_stat(processes.PROC / str(self.pid))
        process = Process(self.pid, stat.started_at_ticks) if stat else None
        # Cgroups are named by the container's id: a pid that is used again is not taken for it.
        is_its = process is not None and self.id in processes.cgroups_of(process) and processes.is_alive(process)
        return process if is_its else None


@dataclass(frozen=True, slots=True)
class Crictl:
    """The program crictl of this node.

    Args:
        path: Its name or path.
        seconds: The limit of each command.
    """

    path: str
    seconds: float
    _running: dict[str, Container] = field(default_factory=dict, init=False, repr=False)

    def version(self) -> str:
        """Return the runtime's name and version.

        Raises:
            EngineError: There is no crictl, or no runtime answers it.
        """
        return self._ask("version")

    def inspect(self, container: str) -> Container:
        """Return a container; of one that runs the runtime is asked once.

        The CRI starts a container only once, and changes nothing of what is read here: as long as its first process
        lives, it is what it was.

        Raises:
            RunGone: There is none, or its id is no container's.
            EngineUnavailable: The runtime does not answer.
        """
        if not _ID.fullmatch(container):
            raise RunGone(f"{container!r} is no id of a container; expected all 64 digits of it.", container=container)
        known = self._running.get(container)
        if known is None or known.process() is None:
            known = self._inspected(container)
            if len(self._running) >= KNOWN_MAX:
                self._running.clear()
            if known.state == RUNNING:
                self._running[container] = known
        return known

    def _inspected(self, container: str) -> Container:
        shown = self._json("inspect", "--output", "json", container)
        status, info = shown["status"], shown["info"]
        return Container(
            id=status["id"],
            state=status["state"],
            pid=int(info.get("pid") or 0),
            pod=str(info.get("sandboxID", "")),
            config=info.get("config") or {},
            labels=status.get("labels") or {},
        )

    def pod(self, pod: str) -> tuple[str, dict[str, Any]]:
        """Return a pod's state, and what it was made with.

        Raises:
            RunGone: There is none.
        """
        shown = self._json("inspectp", "--output", "json", pod)
        return shown["status"]["state"], shown["info"]["config"]

    def labels_of_image(self, image: str) -> dict[str, str]:
        """Return the labels of an image that was pulled.

        Raises:
            RunGone: There is none.
        """
        shown = self._json("inspecti", "--output", "json", image)
        return shown["info"]["imageSpec"]["config"].get("Labels") or {}

    def workloads(self, *, all_states: bool) -> list[dict[str, Any]]:
        """Return the labelled containers, each as crictl lists it."""
        states = ["--all"] if all_states else []
        return self._json("ps", *states, "--label", f"{LABEL}={LABELLED}", "--output", "json").get("containers", [])

    def pods(self) -> list[dict[str, Any]]:
        """Return all pods, each as crictl lists it."""
        return self._json("pods", "--output", "json").get("items", [])

    def images_of(self, repository: str) -> list[str]:
        """Return this node's images of a repository, by name and digest."""
        listed = self._json("images", "--output", "json").get("images", [])
        names = [name for image in listed for name in image.get("repoDigests", [])]
        return [name for name in names if name.startswith(f"{repository}@")]

    def remove(self, container: str) -> None:
        """Kill and remove a container; one that is gone is ignored."""
        self._unless_gone("rm", "--force", container)

    def remove_pod(self, pod: str) -> None:
        """Stop and remove a pod; one that is gone is ignored."""
        self._unless_gone("stopp", pod)
        self._unless_gone("rmp", pod)

    def remove_image(self, image: str) -> None:
        """Remove an image from this node; one that is gone is ignored."""
        self._unless_gone("rmi", image)

    def _unless_gone(self, *words: str) -> None:
        try:
            self._ask(*words)
        except RunGone:
            return

    def _json(self, *words: str) -> dict[str, Any]:
        said = self._ask(*words)
        try:
            return json.loads(said)
        except ValueError as error:
            raise EngineUnavailable(f"{self.path} {words[0]} printed no JSON: {said[:200]!r}") from error

    def _ask(self, *words: str) -> str:
        return ask([self.path, *words], seconds=self.seconds)

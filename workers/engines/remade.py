"""Containers of the CRI that were made again from images: by which claim, in which pod, and their end.

What makes a container and its pod again stands in its image, as a label. The container goes into its own pod as long as
that is there, else into a new one, which ends with it.
"""

import base64
import json
import signal
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from shared.errors import EngineUnavailable, ImageRefused, RunGone
from workers.engines import command, processes
from workers.engines.crictl import CLAIM, READY, RUNNING, Container, Crictl, is_missing
from workers.engines.freezer import thaw_cgroup
from workers.node.lock import NodeLock

# Of an image: what `packed` returned.
RESTORE_LABEL: Final = "checkpoint.restore"
ENDING_SECONDS, ENDING_PAUSE_SECONDS = 5.0, 0.05


class Remade:
    """The containers of this node that claims made again; a claim is named by its image.

    Args:
        crictl: The program.
        seconds: The limit of each of its commands.
    """

    def __init__(self, crictl: Crictl, seconds: float) -> None:
        self._crictl, self._seconds = crictl, seconds

    def packed(self, container: Container) -> str:
        """Return what makes a container and its pod again, as text for a label."""
        _, pod = self._crictl.pod(container.pod)
        kept = {"container": container.config, "pod": pod, "sandbox": container.pod}
        return base64.b64encode(zlib.compress(json.dumps(kept).encode())).decode()

    def take_over(self, claim: str, *, earlier: Collection[str]) -> str | None:
        """Return the container that a claim made, if it runs; held ones do.

        If not, the containers that it and earlier claims made are ended: nobody permitted them.
        """
        made = self._made([*earlier, claim])
        found = [one["id"] for one in made if one["labels"][CLAIM] == claim and one["state"] == RUNNING]
        if len(found) == 1:
            return found[0]
        for one in made:
            self.end(one["id"])
        return None

    def pull(self, reference: str, *, lock: NodeLock, stop: Event) -> None:
        """Have the runtime fetch an image, whose digest it compares.

        Raises:
            RunGone: There is no such image.
            EngineUnavailable: Another try may mend it.
            EngineRevoked: `stop` was set meanwhile.
        """
        try:
            self._run("pull", reference, lock=lock, stop=stop)
        except EngineUnavailable as error:
            if is_missing(error):
                raise RunGone(f"there is no image {reference}.", **error.facts) from error
            raise

    def make(
        self, reference: str, *, claim: str, earlier: Collection[str], folder: Path, lock: NodeLock, stop: Event
    ) -> str:
        """Start a container from an image that was pulled; return its id.

        Args:
            reference: The image by its digest.
            claim: Who makes it.
            earlier: Who tried before.
            folder: For the files of configuration, which hold the run's environment.
            lock: The run's lock on this node.
            stop: The run is over meanwhile.

        Raises:
            ImageRefused: It is none of ours.
            EngineUnavailable: Another try may mend it.
            EngineRevoked: `stop` was set meanwhile.
        """
        kept = _unpacked(self._crictl.labels_of_image(reference), reference)
        sandbox: str | None = kept["sandbox"] if self._is_ready(kept["sandbox"]) else None
        pod = kept["pod"] if sandbox else _another(kept["pod"], claim)
        container = _another(kept["container"], claim) | {"image": {"image": reference}}
        pod_file, container_file = folder / "pod.json", folder / "container.json"
        for file, config in ((pod_file, pod), (container_file, container)):
            file.write_text(json.dumps(config))
        if sandbox is None:
            # One whose maker died has the name that the new one gets.
            self._end_pods([*earlier, claim])
            sandbox = self._run("runp", str(pod_file), lock=lock, stop=stop)
        made = self._run("create", sandbox, str(container_file), str(pod_file), lock=lock, stop=stop)
        self._run("start", made, lock=lock, stop=stop)
        return made

    def _run(self, *words: str, lock: NodeLock, stop: Event) -> str:
        """Run a command that takes long, and return the last line that it printed."""
        argv = [self._crictl.path, "--timeout", f"{self._seconds:g}s", *words]
        return command.run(argv, lock=lock, stop=stop, seconds=self._seconds).output.strip().rpartition("\n")[2]

    def end(self, container: str) -> None:
        """Kill and remove a labelled container, and its pod if a claim made that; one that is gone is ignored."""
        with suppress(RunGone):
            found = self._crictl.inspect(container)
            if not found.is_labelled:
                return
            root = found.process()
            if root is not None:
                # What is killed while it is frozen would not end.
                thaw_cgroup(root)
                # Children first: the end of a parent may make the kernel continue stopped ones.
                for process in reversed(processes.family(root)):
                    processes.signal_process(process, signal.SIGKILL)
            self._remove(found.id)
            # One that was not made again stands in a pod that is not ours to end.
            if CLAIM in found.labels and CLAIM in self._crictl.pod(found.pod)[1].get("labels", {}):
                self._crictl.remove_pod(found.pod)

    def _remove(self, container: str) -> None:
        """Remove a container whose processes were killed.

        While one is just ending, containerd fails to: nobody answers any more who could kill it.
        """
        Retrying(
            retry=retry_if_exception_type(EngineUnavailable),
            wait=wait_fixed(ENDING_PAUSE_SECONDS),
            stop=stop_after_delay(ENDING_SECONDS),
            reraise=True,
        )(self._crictl.remove, container)

    def clear(self, claims: Collection[str], *, keep: str | None) -> None:
        """End what some claims made, but for one container; also pods whose container was never made."""
        made = self._made(claims)
        for one in made:
            if one["id"] != keep:
                self.end(one["id"])
        self._end_pods(claims, keep={one["podSandboxId"] for one in made if one["id"] == keep})

    def _end_pods(self, claims: Collection[str], *, keep: Collection[str] = ()) -> None:
        for pod in self._crictl.pods():
            if pod.get("labels", {}).get(CLAIM) in claims and pod["id"] not in keep:
                self._crictl.remove_pod(pod["id"])

    def _made(self, claims: Collection[str]) -> list[dict[str, Any]]:
        everything = self._crictl.workloads(all_states=True)
        return [one for one in everything if one.get("labels", {}).get(CLAIM) in claims]

    def _is_ready(self, sandbox: str) -> bool:
        try:
            return self._crictl.pod(sandbox)[0] == READY
        except RunGone:
            return False


def _another(config: dict[str, Any], claim: str) -> dict[str, Any]:
    """Return the configuration of another container or pod with this name: the runtime keeps those of earlier ones."""
    metadata = {**config["metadata"], "attempt": int(config["metadata"].get("attempt", 0)) + 1}
    return {**config, "metadata": metadata, "labels": {**config.get("labels", {}), CLAIM: claim}}


def _unpacked(labels: Mapping[str, str], reference: str) -> dict[str, Any]:
    if RESTORE_LABEL not in labels:
        raise ImageRefused(f"image {reference} has no label {RESTORE_LABEL}; expected one that the engine cri stored.")
    return json.loads(zlib.decompress(base64.b64decode(labels[RESTORE_LABEL])))

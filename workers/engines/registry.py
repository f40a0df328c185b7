"""Checkpoint archives as OCI images in a registry: built and pushed by buildah, deleted by skopeo.

A registry's own digest proves an image: it is pulled by that. Both programs find credentials where podman login puts
them.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential
from tenacity.nap import sleep_using_event

from shared.errors import EngineUnavailable, RunGone
from shared.settings import Settings
from workers.engines import command
from workers.engines.crictl import ask
from workers.node.lock import NodeLock

ARCHIVE, RECIPE, STORAGE, DIGEST = "checkpoint.tar", "Containerfile", "storage", "digest"
# CRI-O knows a checkpoint by the first, containerd by the second.
ANNOTATIONS: Final = ("io.kubernetes.cri-o.annotations.checkpoint.name", "org.criu.checkpoint.container.name")
PUSH_PAUSE_SECONDS, PUSH_PAUSE_SECONDS_MAX = 0.5, 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in the registry: its digest, and its layers' bytes."""

    digest: str
    image_bytes: int


class Registry:
    """The registry of this node's checkpoints.

    Args:
        settings: Where it is, and the programs.
    """

    def __init__(self, settings: Settings) -> None:
        self._buildah, self._skopeo = settings.buildah_path, settings.skopeo_path
        self._tls = f"--tls-verify={'true' if settings.cri_registry_tls_verify else 'false'}"
        self._seconds = settings.engine_timeout_ms / 1000
        self._push_seconds = settings.cri_push_retry_ms / 1000

    def check(self) -> None:
        """Return if both programs are here.

        Raises:
            EngineUnsupported: One is not.
        """
        for program in (self._buildah, self._skopeo):
            ask([program, "--version"], seconds=self._seconds)

    def put(
        self, folder: Path, *, image: str, container: str, labels: Mapping[str, str], lock: NodeLock, stop: Event
    ) -> Pushed:
        """Make an image of the archive in a folder, and push it; a failed push is repeated, not the dump.

        Args:
            folder: It holds the archive; what is built here stays in it.
            image: The image's name and tag.
            container: The name of the container in its pod.
            labels: Of the image; of letters, digits and +/=.- only.
            lock: The run's lock on this node.
            stop: The checkpoint was revoked.

        Raises:
            EngineUnavailable: It could not be built, or not be pushed for CHECKPOINT_CRI_PUSH_RETRY_MS.
            EngineRevoked: `stop` was set.
        """
        lines = ["FROM scratch", f"ADD {ARCHIVE} /", *(f'LABEL {name}="{value}"' for name, value in labels.items()), ""]
        (folder / RECIPE).write_text("\n".join(lines))
        annotations = [word for name in ANNOTATIONS for word in ("--annotation", f"{name}={container}")]
        # Of one layer and without a file system to mount, so that a worker that dies leaves nothing but files.
        buildah = [self._buildah, "--root", str(folder / STORAGE / "root"), "--runroot", str(folder / STORAGE / "run")]
        buildah += ["--storage-driver", "vfs"]
        build = [*buildah, "build", "--quiet", "--isolation", "chroot", "--format", "oci", *annotations]
        build += ["--tag", image, "--file", str(folder / RECIPE), str(folder)]
        command.run(build, lock=lock, stop=stop, seconds=self._seconds)
        push = [*buildah, "push", "--quiet", self._tls, "--compression-format", "zstd"]
        push += ["--digestfile", str(folder / DIGEST), image, f"docker://{image}"]
        return self._push(push, folder / DIGEST, repository=image.rpartition(":")[0], lock=lock, stop=stop)

    def _push(self, argv: Sequence[str], file: Path, *, repository: str, lock: NodeLock, stop: Event) -> Pushed:
        def warn(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            log.warning("image.push-failed", tries=state.attempt_number, error=str(error))

        def push() -> Pushed:
            command.run(argv, lock=lock, stop=stop, seconds=self._seconds)
            digest = file.read_text().strip()
            return Pushed(digest, self._bytes_of(f"{repository}@{digest}"))

        return Retrying(
            retry=retry_if_exception_type((EngineUnavailable, RunGone)),
            wait=wait_exponential(PUSH_PAUSE_SECONDS, max=PUSH_PAUSE_SECONDS_MAX),
            stop=stop_after_delay(self._push_seconds),
            sleep=sleep_using_event(stop),
            before_sleep=warn,
            reraise=True,
        )(push)

    def delete(self, image: str) -> None:
        """Delete an image by its name and tag; one that is gone is ignored.

        Raises:
            EngineUnavailable: The registry does not answer, or does not delete.
        """
        with suppress(RunGone):
            ask([self._skopeo, "delete", self._tls, f"docker://{image}"], seconds=self._seconds)

    def delete_tags(self, repository: str, tags: Collection[str]) -> None:
        """Delete those of some images of a repository that are there.

        Raises:
            EngineUnavailable: The registry does not answer, or does not delete.
        """
        with suppress(RunGone):
            listed = ask([self._skopeo, "list-tags", self._tls, f"docker://{repository}"], seconds=self._seconds)
            there: list[str] = json.loads(listed)["Tags"]
            for tag in there:
                if tag in tags:
                    self.delete(f"{repository}:{tag}")

    def _bytes_of(self, image: str) -> int:
        raw = ask([self._skopeo, "inspect", "--raw", self._tls, f"docker://{image}"], seconds=self._seconds)
        manifest: dict[str, Any] = json.loads(raw)
        return sum(int(layer["size"]) for layer in manifest["layers"])

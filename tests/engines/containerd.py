"""A containerd and a registry of the tests' own; `cri.sh` installs what they need."""

import io
import os
import platform
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.settings import Settings
from tests.criu import why_not_criu
from tests.engines.docker_registry import Registry
from tests.waiting import wait_until
from workers.engines.crictl import CLAIM

SCRIPT: Final = Path(__file__).with_name("cri.sh")
MADE_HERE: Final = Path(__file__).parents[2] / ".cri"
PROGRAMS: Final = ("buildah", "skopeo", "docker-registry", "busybox")
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def why_not_cri() -> str | None:
    """Return why no containerd of our own can be started here; None: it can."""
    if os.geteuid() != 0:
        return "containerd needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [name for name in ("containerd", "crictl") if not (MADE_HERE / "bin" / name).exists()]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/engines/cri.sh install .cri)"
    return why_not_criu()


@dataclass(frozen=True)
class Containerd:
    """A containerd that runs, and the registry that it pulls from."""

    folder: Path
    registry: Registry
    numbers: "count[int]" = field(default_factory=count)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder}/containerd.sock"

    @property
    def criu_options(self) -> Path:
        """Where its criu looks for options; there are none at first."""
        return self.folder / "criu.conf"

    @property
    def image(self) -> str:
        """What pods and containers are made of."""
        return f"{self.registry.name}/counting:1"

    def crictl(self, *words: str, check: bool = True) -> str:
        """Run a command of crictl, and return what it prints."""
        argv = [MADE_HERE / "bin" / "crictl", "--runtime-endpoint", self.endpoint, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=check).stdout.strip()

    @contextmanager
    def asked_quickly(self) -> Generator[None]:
        """Have one crictl answer for all, as long as this lasts."""
        socket = self.folder / "crictl.sock"
        argv = [MADE_HERE / "bin" / "crictl", "--runtime-endpoint", self.endpoint, "serve", socket]
        with subprocess.Popen(argv) as server:
            try:
                wait_until(socket.exists)
                yield
            finally:
                server.terminate()

    def ask(self, *words: str) -> Any:
        """Run a command of crictl that prints JSON; None: it failed."""
        said = self.crictl(*words, "--output", "json", check=False)
        return msgspec.json.decode(said) if said else None

    def containers(self) -> list[str]:
        """Return the ids of all containers, running or not."""
        return sorted(one["id"] for one in self.ask("ps", "--all").get("containers", []))

    def running(self) -> list[str]:
        """Return the ids of the containers that run, held ones too."""
        return [one["id"] for one in self.ask("ps").get("containers", [])]

    def restored(self) -> list[str]:
        """Return the ids of the containers that claims restored."""
        listed = self.ask("ps", "--all").get("containers", [])
        return [one["id"] for one in listed if CLAIM in one.get("labels", {})]

    def pods(self) -> list[str]:
        """Return the ids of all pods, ready or not."""
        return sorted(one["id"] for one in self.ask("pods").get("items", []))

    def remove_pods(self, *pods: str) -> None:
        """End and remove pods and what is in them."""
        for pod in pods:
            self.crictl("stopp", pod)
            self.crictl("rmp", pod)

    def settings(self, folder: Path) -> Settings:
        """Return settings of an engine that uses it, with a path of its own in the registry."""
        return Settings.model_validate(
            {
                "crictl_path": str(MADE_HERE / "bin" / "crictl"),
                "cri_registry": f"{self.registry.name}/images-{next(self.numbers)}",
                "cri_registry_tls_verify": False,
                "work_folder": folder,
            }
        )


@contextmanager
def a_containerd(folder: Path) -> Generator[Containerd]:
    """Run a containerd and a registry in a folder."""
    runtime = Containerd(folder, Registry(folder))
    with (folder / "log").open("wb") as log:
        argv = [SCRIPT, "start", MADE_HERE, folder, runtime.image]
        environment = os.environ | {"CRIU_CONFIG_FILE": str(runtime.criu_options)}
        daemon = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        runtime.registry.start()
        archive = folder / "image.tar"
        archive.write_bytes(_image())
        push = ["skopeo", "copy", "--dest-tls-verify=false", f"docker-archive:{archive}", f"docker://{runtime.image}"]
        subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
        wait_until(lambda: runtime.crictl("version", check=False))
        runtime.crictl("pull", runtime.image)
        with runtime.asked_quickly():
            yield runtime
            runtime.remove_pods(*runtime.pods())
    finally:
        daemon.terminate()
        daemon.wait()
        runtime.registry.stop()
        _end_shims(folder)


def _end_shims(folder: Path) -> None:
    """End what a runtime that is gone left of its own; nothing, if its pods could be removed."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{folder}/containerd.sock" in (process / "cmdline").read_text():
                os.kill(int(process.name), signal.SIGKILL)


def _image() -> bytes:
    """Return an image with a program that waits, as Docker saves it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as files:
        files.add(Path(shutil.which("busybox") or "").resolve(), "bin/busybox")
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        files.addfile(folder)
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]
    parts = {"manifest.json": msgspec.json.encode(manifest), "config.json": msgspec.json.encode(config)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in {**parts, "layer.tar": layer.getvalue()}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()

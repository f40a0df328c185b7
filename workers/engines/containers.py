"""Docker containers of this node that are marked as workloads: looked at, held still, let go, removed, made again."""

import os
import signal
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound

from shared.errors import EngineUnavailable, EngineUnsupported, RunGone
from workers.engines import cgroups, processes
from workers.engines.processes import Process

LABEL: Final = "checkpoint.workload"
RESTORED_LABEL: Final = "checkpoint.restored-by"
ANSWER_SECONDS: Final = 30
UNKNOWN: Final = "auto"
# Of the interface of each daemon that was spoken to, by its address.
_versions: dict[str | None, str] = {}
SHORT_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Container:
    """A container as its daemon describes it."""

    facts: Any

    @property
    def id(self) -> str:
        """Its full id."""
        return self.facts["Id"]

    @property
    def names(self) -> list[str]:
        """All that an upstream may call it: its id, the short one, its name."""
        return [self.id, self.id[:SHORT_ID], self.facts["Name"].lstrip("/")]

    @property
    def is_marked(self) -> bool:
        """Whether it is a workload."""
        return self._labels.get(LABEL) == "1"

    def is_restored_by(self, system: str) -> bool:
        """Whether a system made it to restore a checkpoint; several systems may share a daemon."""
        return self.is_marked and self._labels.get(RESTORED_LABEL) == system

    @property
    def _labels(self) -> dict[str, str]:
        return self.facts["Config"].get("Labels") or {}

    @property
    def is_running(self) -> bool:
        """Whether its processes are there, paused or not."""
        return bool(self.facts["State"]["Running"])

    @property
    def is_paused(self) -> bool:
        """Whether its processes are kept still by their cgroup."""
        return bool(self.facts["State"]["Paused"])

    @property
    def layer(self) -> Path:
        """Where the files are that it has written beside its image."""
        data: Any = self.facts["GraphDriver"].get("Data")
        if not data or "UpperDir" not in data:
            raise EngineUnsupported(
                f"container {self.id[:SHORT_ID]} is kept by the storage driver {self.facts['GraphDriver']['Name']}; "
                "expected overlay2."
            )
        return Path(data["UpperDir"])

    def processes(self) -> list[Process]:
        """Return all of its processes, those that others started in it included; none if it is gone.

        `docker top` would have the daemon start a `ps`, which takes a tenth of a small dump.
        """
        pid = int(self.facts["State"]["Pid"])
        stat = processes.read_stat(processes.PROC / str(pid))
        if pid == 0 or stat is None:
            return []
        found = cgroups.members(Process(pid, stat.started_at_ticks), container=self.id)
        # A worker in a container may see all processes, and not their cgroups.
        return processes.of_container(self.id) if found is None else found

    def as_new(self, *, system: str) -> dict[str, Any]:
        """Return what the daemon needs for a system to make the same container again; its volumes are the same."""
        host: dict[str, Any] = dict(self.facts["HostConfig"])
        binds: list[str] = list(host["Binds"]) if host.get("Binds") else []
        named = {bind.split(":")[1] for bind in binds}
        mounts: list[dict[str, Any]] = host.get("Mounts") or []
        named |= {mount["Target"] for mount in mounts}
        host["Mounts"] = [
            mount | {"Source": os.path.realpath(mount["Source"])} if mount["Type"] == "bind" else mount
            for mount in mounts
        ]
        host["Binds"] = [_resolved(bind) for bind in binds] + [
            f"{mount['Name']}:{mount['Destination']}"
            for mount in self.facts["Mounts"]
            if mount["Type"] == "volume" and mount["Destination"] not in named
        ]
        networks: dict[str, Any] = {
            name: {"Aliases": _aliases(end, but=self.id[:SHORT_ID])}
            for name, end in self.facts["NetworkSettings"]["Networks"].items()
            if name not in {"bridge", "host", "none"}
        }
        labels = self._labels | {RESTORED_LABEL: system}
        config = {**self.facts["Config"], "Labels": labels}
        return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": networks}}


def _resolved(bind: str) -> str:
    """Return a bind whose folder of the host is named as it really is: CRIU mounts none through a symbolic link."""
    source, colon, rest = bind.partition(":")
    return f"{os.path.realpath(source)}{colon}{rest}" if source.startswith("/") else bind


def _aliases(end: Any, *, but: str) -> list[str]:
    """Return by which names others of a network find a container; the daemon adds the new id itself."""
    return [one for one in end["Aliases"] if one != but] if end.get("Aliases") else []


class Daemon:
    """The Docker daemon that DOCKER_HOST names, else the usual one."""

    def info(self) -> dict[str, Any]:
        """Return what the daemon says of itself.

        Raises:
            EngineUnavailable: It does not answer.
        """
        with self._asked() as client:
            return client.info()

    def find(self, name: str) -> Container | None:
        """Return a container by its id or name; None: there is none."""
        with suppress(RunGone), self._asked() as client:
            return Container(client.inspect_container(name))
        return None

    def expect(self, name: str) -> Container:
        """Return a workload whose processes are there.

        Raises:
            RunGone: There is no such container, it has ended, or it is no workload.
        """
        found = self.find(name)
        if found is None:
            raise RunGone(f"there is no container {name}.", container=name)
        if not found.is_marked:
            raise RunGone(f"container {name} has no label {LABEL}=1: it is no workload.", container=name)
        if not found.is_running:
            raise RunGone(f"container {name} has ended.", container=name)
        return found

    def workloads(self) -> list[Container]:
        """Return every workload whose processes are there."""
        with self._asked() as client:
            listed = client.containers(filters={"label": f"{LABEL}=1"})
        found = [self.find(one["Id"]) for one in listed]
        return [one for one in found if one is not None and one.is_running]

    def pause(self, container: Container) -> None:
        """Keep all of its processes still, at once."""
        if not container.is_paused:
            with self._asked() as client:
                client.pause(container.id)

    def let_go(self, container: Container) -> None:
        """Let all of its processes run, whether they were paused or are held since their restore."""
        if container.is_paused:
            with self._asked() as client:
                client.unpause(container.id)
        for process in container.processes():
            processes.signal_process(process, signal.SIGCONT)

    def is_standing(self, container: Container) -> bool:
        """Whether it is paused, or each of its processes is stopped."""
        if container.is_paused:
            return True
        found = container.processes()
        return bool(found) and all(map(processes.is_stopped, found))

    def remove(self, container: Container) -> None:
        """End and remove a container, its volumes excepted; one that is gone is ignored."""
        if container.is_running:
            # Before the daemon lets it go to end it: else all but its first process would run for a moment.
            for process in container.processes():
                processes.signal_process(process, signal.SIGKILL)
        with suppress(RunGone), self._asked() as client:
            client.remove_container(container.id, force=True)

    def create(self, name: str, config: dict[str, Any]) -> Container:
        """Make a container that is not started yet."""
        with self._asked() as client:
            made = client.create_container_from_config(config, name=name)
            return Container(client.inspect_container(made["Id"]))

    @contextmanager
    def _asked(self) -> Generator[Any]:
        address = os.environ.get("DOCKER_HOST")
        version = _versions.get(address, UNKNOWN)
        try:
            with closing(APIClient(base_url=address, version=version, timeout=ANSWER_SECONDS)) as client:
                # Asked for once: to answer, the daemon starts runc and others, which takes longer than most questions.
                _versions[address] = client.api_version
                yield client
        except NotFound as error:
            raise RunGone(str(error.explanation or error)) from error
        except APIError as error:
            _versions.pop(address, None)  # an older daemon may have taken its place
            raise EngineUnavailable(f"Docker refused: {error.explanation or error}") from error
        except (DockerException, requests.RequestException) as error:
            raise EngineUnavailable(f"the Docker daemon does not answer: {error}. Is it running?") from error

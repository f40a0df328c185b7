"""What goes wrong around the engine `cri`: a restore that fails, a registry that is away, images that are not ours."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import msgspec
import pytest

from shared.errors import EngineRevoked, EngineUnavailable, ImageRefused, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.conftest import Logged, StartPod
from tests.engines.containerd import Containerd
from tests.engines.pods import frozen_and_stored, what_is_left
from tests.waiting import wait_until
from workers.engines.cri import PREFIX, CriEngine
from workers.engines.engine import Image
from workers.node.lock import NodeLock

NEVER = Event()


def test_a_restore_that_failed_leaves_nothing_and_is_tried_again(
    start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd, logged: Logged, tmp_path: Path
) -> None:
    """Neither a pod nor a container, nor files with the run's environment."""
    broken = tmp_path / "broken"
    script = f'case " $* " in *" start "*) [ ! -e {broken} ] || {{ echo no; exit 1; }} ;; esac'
    crictl, _ = logged(cri_settings.crictl_path, script)
    engine, counting = CriEngine(cri_settings.model_copy(update={"crictl_path": crictl})), start_pod()
    workload = counting.workload
    image = frozen_and_stored(engine, counting, name="17-1", lock=lock)
    engine.kill(workload)
    containerd.remove_pods(counting.pod)

    broken.touch()
    with pytest.raises(EngineUnavailable, match="exited with code 1: no"):
        engine.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER)
    assert (containerd.containers(), containerd.pods()) == ([], [])
    assert what_is_left(cri_settings, containerd) == ["17-1"]

    broken.unlink()
    counting.moved_to(engine.restore(image, name="17-3", workload=workload, lock=lock, stop=NEVER))
    counting.assert_stands()


def test_a_failed_push_is_repeated_without_another_dump(
    start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd, logged: Logged
) -> None:
    """The registry restarts meanwhile; the container stands."""
    (crictl, said), (buildah, built) = logged(cri_settings.crictl_path), logged(cri_settings.buildah_path)
    engine = CriEngine(cri_settings.model_copy(update={"crictl_path": crictl, "buildah_path": buildah}))
    counting = start_pod()
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    containerd.registry.stop()
    with ThreadPoolExecutor() as pool:
        store = pool.submit(engine.store, counting.workload, name="17-1", lock=lock, stop=NEVER)
        try:
            wait_until(lambda: built.read_text().count(" push ") > 1 or store.done())
        finally:
            containerd.registry.start()
        assert store.result().location.endswith("/checkpoint-17:17-1")

    assert said.read_text().count(" checkpoint ") == 1
    assert built.read_text().count(" build ") == 1
    assert what_is_left(cri_settings, containerd) == ["17-1"]
    counting.assert_stands()


def test_a_revocation_ends_the_repeated_push(
    start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd, logged: Logged
) -> None:
    """Its wait is over: it does not hold the node's lock until the registry is back."""
    buildah, built = logged(cri_settings.buildah_path)
    engine, counting, revoked = (
        CriEngine(cri_settings.model_copy(update={"buildah_path": buildah})),
        start_pod(),
        Event(),
    )
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    containerd.registry.stop()
    with ThreadPoolExecutor() as pool:
        store = pool.submit(engine.store, counting.workload, name="17-1", lock=lock, stop=revoked)
        try:
            wait_until(lambda: " push " in built.read_text() or store.done())
            revoked.set()
            with pytest.raises(EngineRevoked):
                store.result()
        finally:
            revoked.set()
            containerd.registry.start()

    assert what_is_left(cri_settings, containerd) == []
    engine.thaw(counting.workload)
    counting.assert_runs()


def test_a_registry_without_tls_gets_no_image_unless_that_is_set(
    start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd
) -> None:
    """An image holds the run's memory. The try has failed once the time for its push is over."""
    assert Settings().cri_registry_tls_verify
    engine = CriEngine(cri_settings.model_copy(update={"cri_registry_tls_verify": True, "cri_push_retry_ms": 0}))
    counting = start_pod()
    engine.freeze(counting.workload, lock=lock, stop=NEVER)
    with pytest.raises(EngineUnavailable, match="HTTP response to HTTPS client"):
        engine.store(counting.workload, name="17-1", lock=lock, stop=NEVER)
    assert what_is_left(cri_settings, containerd) == []
    counting.assert_stands()


def test_an_image_that_is_gone_or_not_what_was_accepted_is_not_restored(
    cri_engine: CriEngine, lock: NodeLock, cri_settings: Settings, containerd: Containerd
) -> None:
    """Its digest says what it must be, whatever its tag is now; and it must be one of ours."""
    location = f"{PREFIX}{cri_settings.cri_registry}/checkpoint-17:17-1"
    workload = Workload(EngineName.CRI, "here", container="0" * 64)

    def restore(location: str, digest: str | None) -> None:
        cri_engine.restore(Image(location, digest, 1), name="17-2", workload=workload, lock=lock, stop=NEVER)

    with pytest.raises(RunGone, match="there is no image"):
        restore(location, f"sha256:{'0' * 64}")
    subprocess.run(["skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false",
                    f"docker://{containerd.image}", f"docker://{location.removeprefix(PREFIX)}"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    with pytest.raises(RunGone, match="there is no image"):
        restore(location, f"sha256:{'0' * 64}")
    argv = ["skopeo", "inspect", "--tls-verify=false", f"docker://{containerd.image}"]
    digest = msgspec.json.decode(subprocess.run(argv, check=True, capture_output=True).stdout)["Digest"]
    with pytest.raises(ImageRefused, match=r"no label checkpoint\.restore"):
        restore(location, digest)
    for foreign in ("process:17-1", f"{PREFIX}registry.example.com/other:1", "--help"):
        with pytest.raises(RunGone, match="no image of the engine cri"):
            restore(foreign, digest)
        with pytest.raises(RunGone, match="no image of the engine cri"):
            cri_engine.discard(foreign)
    cri_engine.clear("17-2", keep=None)
    assert (containerd.containers(), containerd.pods(), what_is_left(cri_settings, containerd)) == ([], [], [])

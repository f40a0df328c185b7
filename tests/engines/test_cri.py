"""The engine `cri` with a real containerd and registry: nothing runs while frozen or held, nothing is counted twice."""

from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnavailable, EngineUnsupported, RunGone
from shared.messages import Workload
from shared.settings import Settings
from shared.vocabulary import EngineName
from tests.engines.conftest import Logged, StartPod
from tests.engines.containerd import Containerd
from tests.engines.pods import frozen_and_stored, what_is_left
from workers.engines.cri import CriEngine
from workers.engines.freezer import freezer_of
from workers.node.lock import NodeLock

NEVER = Event()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cri_registry": ""}, "CHECKPOINT_CRI_REGISTRY"),
        ({"crictl_path": "/none/crictl"}, "/none/crictl cannot be started"),
        ({"buildah_path": "/none/buildah"}, "/none/buildah cannot be started"),
        ({"skopeo_path": "/bin/false"}, "/bin/false failed"),
    ],
)
def test_a_node_that_cannot_is_told_what_is_missing(cri_settings: Settings, wrong: dict[str, str], said: str) -> None:
    """It does not offer the engine then."""
    with pytest.raises(EngineUnsupported, match=said):
        CriEngine(cri_settings.model_copy(update=wrong)).probe()


def test_a_runtime_that_is_away_is_said_to_be(
    cri_engine: CriEngine, monkeypatch: pytest.MonkeyPatch, lock: NodeLock, tmp_path: Path
) -> None:
    """Nothing is known of its containers: none is said to be gone."""
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", f"unix://{tmp_path}/none.sock")
    workload = Workload(EngineName.CRI, "here", container="0" * 64)
    with pytest.raises(EngineUnsupported, match="does not work here"):
        cri_engine.probe()
    with pytest.raises(EngineUnavailable):
        cri_engine.freeze(workload, lock=lock, stop=NEVER)
    with pytest.raises(EngineUnavailable):
        cri_engine.standing(node="here")


def test_each_epoch_stores_an_image_of_its_own(
    cri_engine: CriEngine, start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd
) -> None:
    """Whoever loses discards its own; the container stands all the while, and goes on when its offer is refused."""
    counting = start_pod()
    cri_engine.freeze(counting.workload, lock=lock, stop=NEVER)
    first, second = (cri_engine.store(counting.workload, name=name, lock=lock, stop=NEVER) for name in ("17-1", "17-2"))
    counting.assert_stands()
    assert first.is_portable
    assert second.image_bytes > 0
    assert what_is_left(cri_settings, containerd) == ["17-1", "17-2"]

    for _ in range(2):
        cri_engine.discard(first.location)
    assert what_is_left(cri_settings, containerd) == ["17-2"]
    cri_engine.thaw(counting.workload)
    counting.assert_runs()
    with pytest.raises(EngineUnavailable, match="runs; expected all of them frozen"):
        cri_engine.store(counting.workload, name="17-3", lock=lock, stop=NEVER)


def test_a_container_is_restored_into_its_own_pod_with_what_it_had_written(
    cri_engine: CriEngine, start_pod: StartPod, lock: NodeLock, containerd: Containerd
) -> None:
    """Requested twice it is one container, which is held until it is permitted."""
    counting = start_pod()
    pod, workload = counting.pod, counting.workload
    (counting.root / "tmp" / "kept").write_text("kept")
    image = frozen_and_stored(cri_engine, counting, name="17-1", lock=lock)
    cri_engine.kill(workload)
    assert (containerd.containers(), containerd.pods()) == ([], [pod])

    held = cri_engine.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER)
    again = cri_engine.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER)
    counting.moved_to(held)

    assert again == held
    assert (containerd.containers(), containerd.pods()) == ([counting.container], [pod])
    assert counting.pod == pod
    assert (counting.root / "tmp" / "kept").read_text() == "kept"
    counting.assert_stands()
    cri_engine.permit(held)
    counting.assert_runs()


def test_a_container_whose_pod_is_gone_is_restored_into_a_new_one(
    cri_engine: CriEngine, start_pod: StartPod, lock: NodeLock, containerd: Containerd
) -> None:
    """As on another node; the new pod ends with the container that it was made for."""
    counting = start_pod()
    workload = counting.workload
    image = frozen_and_stored(cri_engine, counting, name="17-1", lock=lock)
    before = counting.counts()
    cri_engine.kill(workload)
    containerd.remove_pods(counting.pod)

    held = cri_engine.restore(image, name="17-2", workload=workload, lock=lock, stop=NEVER)
    counting.moved_to(held)
    assert counting.counts() == before
    cri_engine.permit(held)
    counting.assert_runs()

    cri_engine.kill(held)
    assert (containerd.containers(), containerd.pods()) == ([], [])


def test_a_later_claim_takes_the_place_of_what_was_never_permitted(
    cri_engine: CriEngine, start_pod: StartPod, lock: NodeLock, cri_settings: Settings, containerd: Containerd
) -> None:
    """In the end nothing is left of its checkpoint; another's container and image are not touched."""
    counting, other = start_pod(), start_pod()
    kept, _ = (
        frozen_and_stored(cri_engine, one, name=name, lock=lock) for one, name in ((counting, "17-1"), (other, "18-1"))
    )
    cri_engine.kill(counting.workload)
    containerd.remove_pods(counting.pod)
    first = cri_engine.restore(kept, name="17-2", workload=counting.workload, lock=lock, stop=NEVER)
    second = cri_engine.restore(kept, name="17-3", workload=counting.workload, lock=lock, stop=NEVER)
    assert (cri_engine.is_standing(first), cri_engine.is_standing(second)) == (False, True)

    for _ in range(2):
        cri_engine.clear("17-3", keep=None)
    assert containerd.containers() == [other.container]
    assert containerd.pods() == [other.pod]
    assert what_is_left(cri_settings, containerd) == ["18-1"]
    other.assert_stands()


@pytest.mark.parametrize("bad", ["--help", "-v", "$(x)", "", "counting", "0" * 12, "0" * 64, "../" + "0" * 61])
def test_what_is_no_containers_id_reaches_no_program(
    cri_settings: Settings, lock: NodeLock, logged: Logged, bad: str
) -> None:
    """Only all 64 digits of an id are looked up; of a container that is gone nothing is left to do."""
    crictl, said = logged(cri_settings.crictl_path)
    engine = CriEngine(cri_settings.model_copy(update={"crictl_path": crictl}))
    workload = Workload(EngineName.CRI, "here", container=bad)
    with pytest.raises(RunGone):
        engine.freeze(workload, lock=lock, stop=NEVER)
    engine.thaw(workload)
    engine.permit(workload)
    engine.kill(workload)
    assert not engine.is_standing(workload)
    assert (said.read_text() == "") == (len(bad) < 64 or not bad.isdigit())


def test_a_container_that_a_dead_runtime_left_frozen_is_let_go_or_ended(
    cri_engine: CriEngine, start_pod: StartPod, lock: NodeLock, containerd: Containerd
) -> None:
    """The runtime freezes its cgroup for a dump, and may die there; a signal alone would not be seen."""
    for end in (cri_engine.thaw, cri_engine.kill):
        counting = start_pod()
        cri_engine.freeze(counting.workload, lock=lock, stop=NEVER)
        freezer = freezer_of(counting.process)
        if freezer is None:
            pytest.skip("this machine has no freezer of the first version of cgroups")
        freezer.write_text("FROZEN")
        assert cri_engine.is_standing(counting.workload)
        assert counting.workload in cri_engine.standing(node="here")
        end(counting.workload)
        if end == cri_engine.thaw:
            counting.assert_runs()
        else:
            assert counting.container not in containerd.containers()

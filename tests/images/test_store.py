"""The store of images: what was put in comes out, or nothing does; memory does not grow with it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineRevoked, EngineUnavailable, ImageRefused, Misconfigured, RunGone
from shared.settings import Settings
from workers.images.store import ARCHIVE, ImageStore, earlier_names

NEVER = Event()
NAME = "17-2"

# Puts a folder into a store and takes it out again; prints the bytes by which its memory grew meanwhile.
ROUND_TRIP = """
import resource, sys
from pathlib import Path
from threading import Event
from shared.settings import Settings
from workers.images.store import ImageStore

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

store, small, large, target = (Path(one) for one in sys.argv[1:])
images = ImageStore(Settings(image_store=store.as_uri()))
for name, folder in (("1-1", small), ("2-1", large)):
    before = peak()
    digest = images.put(folder, name=name, stop=Event()).digest
    (target / name).mkdir()
    images.fetch(name, digest=digest, into=target / name, stop=Event())
print(peak() - before)
"""


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("key", [None, "a key of the test's own"])
def test_an_image_comes_out_as_it_went_in(
    a_store: Callable[..., ImageStore], dumped: Path, target: Path, key: str | None
) -> None:
    """Every file, byte by byte; and its digest is the same whoever stores it."""
    store = a_store(image_key=key)

    stored = store.put(dumped, name=NAME, stop=NEVER)
    store.fetch(NAME, digest=stored.digest, into=target, stop=NEVER)

    assert contents(target) == contents(dumped)
    assert stored == store.put(dumped, name=NAME, stop=NEVER)
    assert 0 < stored.image_bytes < sum(map(len, contents(dumped).values()))


def test_what_is_stored_is_for_this_user_alone(store: ImageStore, dumped: Path, target: Path) -> None:
    """An image holds all that its run had in memory."""
    digest = store.put(dumped, name=NAME, stop=NEVER).digest
    store.fetch(NAME, digest=digest, into=target, stop=NEVER)

    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}


def test_a_discarded_image_is_gone(store: ImageStore, store_folder: Path, dumped: Path, target: Path) -> None:
    """By its own name: the other epoch's stays; twice is no error."""
    first = store.put(dumped, name="17-1", stop=NEVER)
    second = store.put(dumped, name="17-2", stop=NEVER)

    for _ in range(2):
        store.discard("17-1")

    with pytest.raises(RunGone):
        store.fetch("17-1", digest=first.digest, into=target, stop=NEVER)
    store.fetch("17-2", digest=second.digest, into=target, stop=NEVER)
    assert [path.name for path in store_folder.iterdir()] == ["17-2"]


def test_what_earlier_claims_left_is_found_by_name(store: ImageStore, store_folder: Path, dumped: Path) -> None:
    """Workers that died between store and offer; another checkpoint's images are not touched."""
    for name in ("17-1", "17-3", "17-4", "17-5", "1-3", "117-1"):
        store.put(dumped, name=name, stop=NEVER)
    (store_folder / "17-2").mkdir()
    (store_folder / "17-2" / f"{ARCHIVE}#1").write_bytes(b"half an upload, as a kill -9 leaves it")

    store.discard(*earlier_names("17-4"))

    assert sorted(path.name for path in store_folder.iterdir()) == ["1-3", "117-1", "17-4", "17-5"]


def test_the_names_of_earlier_claims_are_limited() -> None:
    """However often a checkpoint was claimed."""
    assert earlier_names("17-1") == []
    assert earlier_names("17-4") == ["17-1", "17-2", "17-3"]
    assert len(earlier_names("17-1000000")) == 1_000


@pytest.mark.parametrize("name", ["", "..", "17", "17-", "../17-1", "17-1/..", "017-1", "run-1", "17-1\n", "-1-1"])
def test_only_names_made_of_integers_are_served(store: ImageStore, dumped: Path, target: Path, name: str) -> None:
    """Nothing that an upstream said can name an image, or leave the store."""
    with pytest.raises(ImageRefused, match="no image's name"):
        store.put(dumped, name=name, stop=NEVER)
    with pytest.raises(ImageRefused, match="no image's name"):
        store.fetch(name, digest="sha256:0", into=target, stop=NEVER)
    with pytest.raises(ImageRefused, match="no image's name"):
        store.discard(name)


def test_a_revoked_checkpoint_leaves_nothing_in_the_store(
    store: ImageStore, store_folder: Path, tmp_path: Path
) -> None:
    """A wait that ends in the middle of an upload."""
    revoked = Event()
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(40):
        (folder / f"pages-{number}.img").write_bytes(os.urandom(2**20))

    class Revoking(type(revoked)):
        """Set once it was looked at twenty times."""

        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 20

    with pytest.raises(EngineRevoked):
        store.put(folder, name=NAME, stop=Revoking())

    assert list(store_folder.iterdir()) == []


def test_a_store_that_is_away_is_another_time_s_trouble(a_store: Callable[..., ImageStore]) -> None:
    """Nobody listens at that address: a failure that another try may mend, said in one line."""
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = a_store(image_store="s3://bucket/of-nobody", engine_timeout_ms=1_000)

        with pytest.raises(EngineUnavailable, match="image store") as caught:
            store.discard(NAME)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["", "images", "file://host/images", "ftp://host/x", "memory:///"])
def test_a_wrong_address_is_named(url: str) -> None:
    """With what is expected."""
    with pytest.raises(Misconfigured, match="CHECKPOINT_IMAGE_STORE"):
        ImageStore(Settings(image_store=url))


def test_a_folder_that_others_can_write_to_is_refused(store_folder: Path) -> None:
    """Whoever could put an image there could run code as the worker."""
    store_folder.mkdir()
    store_folder.chmod(0o777)

    with pytest.raises(Misconfigured, match="CHECKPOINT_IMAGE_STORE"):
        ImageStore(Settings(image_store=store_folder.as_uri()))


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """200 MB of random bytes go in and out; the process has no more of them in memory than the parts on their way."""
    small, large, target = (tmp_path / name for name in ("small", "large", "target"))
    for folder in (small, large, target):
        folder.mkdir()
    (small / "pages-1.img").write_bytes(os.urandom(2**20))
    with (large / "pages-1.img").open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(10**6))

    argv = [sys.executable, "-c", ROUND_TRIP, str(tmp_path / "store"), str(small), str(large), str(target)]
    printed = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=100)

    assert (target / "2-1" / "pages-1.img").stat().st_size == 200 * 10**6
    assert int(printed.stdout) < 60 * 10**6


def test_a_bucket_is_shared_by_all_nodes_and_a_folder_where_that_is_said(a_store: Callable[..., ImageStore]) -> None:
    """Another node may bring back only what it can fetch."""
    assert not a_store().is_shared
    assert a_store(image_store_shared=True).is_shared
    assert a_store(image_store="s3://bucket/prefix").is_shared

"""Images in a bucket, of a real server that speaks S3: what a folder does, without a folder's help."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineRevoked, EngineUnavailable, ImageRefused, RunGone
from shared.settings import Settings
from tests.bucket import Bucket, an_s3_server
from workers.images.store import ARCHIVE, MANIFEST, PART_BYTES, ImageStore

NEVER = Event()
NAME = "17-2"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the tests of this module."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with pytest.MonkeyPatch.context() as environment, an_s3_server(log, environment) as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str) -> Bucket:
    """A bucket of the test's own."""
    return Bucket(s3)


@pytest.fixture
def store(bucket: Bucket) -> ImageStore:
    """The store of images in that bucket."""
    return ImageStore(Settings.model_validate({"image_store": bucket.url}))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder whose image is sent in several parts."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "pages-1.img").write_bytes(os.urandom(2 * PART_BYTES + 1))
    return folder


def test_an_image_comes_out_as_it_went_in(store: ImageStore, bucket: Bucket, large: Path, target: Path) -> None:
    """In several parts; of them nothing is left but the image."""
    stored = store.put(large, name=NAME, stop=NEVER)
    store.fetch(NAME, digest=stored.digest, into=target, stop=NEVER)

    assert (target / "pages-1.img").read_bytes() == (large / "pages-1.img").read_bytes()
    assert bucket.objects() == [f"{NAME}/{ARCHIVE}", f"{NAME}/{MANIFEST}"]
    assert bucket.half_uploads() == []


def test_a_discarded_image_is_gone_and_others_stay(
    store: ImageStore, bucket: Bucket, dumped: Path, target: Path
) -> None:
    """Twice, which is no error; and so is what never was."""
    digest = store.put(dumped, name=NAME, stop=NEVER).digest
    store.put(dumped, name="17-3", stop=NEVER)

    for _ in range(2):
        store.discard(NAME, "99-1")

    assert bucket.objects() == [f"17-3/{ARCHIVE}", f"17-3/{MANIFEST}"]
    with pytest.raises(RunGone):
        store.fetch(NAME, digest=digest, into=target, stop=NEVER)


@pytest.mark.parametrize("part", [ARCHIVE, MANIFEST])
def test_a_changed_byte_is_found_before_unpacking(
    store: ImageStore, bucket: Bucket, dumped: Path, target: Path, part: str
) -> None:
    """Whoever can write to the bucket cannot have anything else restored."""
    digest = store.put(dumped, name=NAME, stop=NEVER).digest
    bucket.change_last_byte(f"{NAME}/{part}")

    with pytest.raises(ImageRefused):
        store.fetch(NAME, digest=digest, into=target, stop=NEVER)

    assert list(target.iterdir()) == []


def test_a_revoked_checkpoint_leaves_nothing_in_the_bucket(store: ImageStore, bucket: Bucket, large: Path) -> None:
    """Neither an object nor the parts of one, for which a bucket's owner would pay."""
    stop = Event()
    stop.set()

    with pytest.raises(EngineRevoked):
        store.put(large, name=NAME, stop=stop)

    assert (bucket.objects(), bucket.half_uploads()) == ([], [])


def test_a_bucket_that_is_not_there_is_another_time_s_trouble(s3: str, dumped: Path) -> None:
    """The run stays alive, and the next try may find it."""
    _ = s3
    store = ImageStore(Settings.model_validate({"image_store": "s3://no-such-bucket/below"}))

    with pytest.raises(EngineUnavailable, match="no-such-bucket"):
        store.put(dumped, name=NAME, stop=NEVER)

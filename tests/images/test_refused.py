"""What an image must not be: restoring one is running code, so a doubtful one is never unpacked."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from shared.errors import EngineUnavailable, ImageRefused, RunGone
from tests.images.crafted import archive_of, content_of, member, members_of, put, sparse_member
from workers.images.manifest import Content
from workers.images.store import ARCHIVE, MANIFEST, ImageStore

NEVER = Event()
NAME = "17-2"
DATA = content_of(b"data")
TEBIBYTE = 2**40

Store = Callable[..., ImageStore]


def assert_refused(store: ImageStore, digest: str | None, target: Path, match: str) -> None:
    """The image is refused, and nothing of it was unpacked."""
    with pytest.raises(ImageRefused, match=match):
        store.fetch(NAME, digest=digest, into=target, stop=NEVER)
    assert list(target.iterdir()) == []
    assert list(target.parent.glob("tmp*")) == []


@pytest.mark.parametrize("part", [ARCHIVE, MANIFEST])
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_one_changed_byte_is_found_before_unpacking(
    store: ImageStore, store_folder: Path, dumped: Path, target: Path, part: str, where: float
) -> None:
    """Whichever byte, of whichever part."""
    digest = store.put(dumped, name=NAME, stop=NEVER).digest
    path = store_folder / NAME / part
    changed = bytearray(path.read_bytes())
    changed[int(where * len(changed)) if where > 0 else int(where)] ^= 1
    path.write_bytes(changed)

    assert_refused(store, digest, target, "is not the one that was accepted" if part == MANIFEST else "was changed")


@pytest.mark.parametrize("size", [0, 0.5, 2])
def test_half_an_upload_is_found_before_unpacking(
    store: ImageStore, store_folder: Path, dumped: Path, target: Path, size: float
) -> None:
    """An archive that is empty, cut off, or longer than it should be."""
    digest = store.put(dumped, name=NAME, stop=NEVER).digest
    path = store_folder / NAME / ARCHIVE
    whole = path.read_bytes()
    path.write_bytes((whole + whole)[: int(size * len(whole))])

    assert_refused(store, digest, target, "only a part of it was stored")


def test_an_image_without_a_part_is_none(store: ImageStore, store_folder: Path, dumped: Path, target: Path) -> None:
    """The upload never ended, or somebody removed it."""
    for part in (ARCHIVE, MANIFEST):
        digest = store.put(dumped, name=NAME, stop=NEVER).digest
        (store_folder / NAME / part).unlink()

        with pytest.raises(RunGone):
            store.fetch(NAME, digest=digest, into=target, stop=NEVER)
        assert list(target.iterdir()) == []


def test_the_image_of_another_checkpoint_is_refused(
    store: ImageStore, store_folder: Path, dumped: Path, target: Path
) -> None:
    """Also where somebody gave Postgres the other one's digest."""
    mine = store.put(dumped, name=NAME, stop=NEVER).digest
    (dumped / "more.img").write_bytes(b"more")
    other = store.put(dumped, name="18-1", stop=NEVER).digest
    for part in (ARCHIVE, MANIFEST):
        (store_folder / "18-1" / part).rename(store_folder / NAME / part)

    assert_refused(store, mine, target, "is not the one that was accepted")
    assert_refused(store, other, target, "has the manifest of image 18-1")


@pytest.mark.parametrize("digest", [None, "", "sha256:", "md5:00"])
def test_an_image_that_postgres_has_no_digest_of_is_refused(
    store: ImageStore, dumped: Path, target: Path, digest: str | None
) -> None:
    """Nothing is taken on trust."""
    store.put(dumped, name=NAME, stop=NEVER)

    assert_refused(store, digest, target, "is not the one that was accepted")


def test_a_key_is_asked_for_where_one_is_set(a_store: Store, dumped: Path, target: Path) -> None:
    """Neither an unsigned image nor another key's is restored; the key before is still good for what it signed."""
    unsigned = a_store().put(dumped, name=NAME, stop=NEVER).digest
    assert_refused(a_store(image_key="a" * 16), unsigned, target, "CHECKPOINT_IMAGE_KEY")

    signed = a_store(image_key="a" * 16).put(dumped, name=NAME, stop=NEVER).digest
    assert "a" * 16 not in signed
    for other in (a_store(), a_store(image_key="b" * 16)):
        assert_refused(other, signed, target, "CHECKPOINT_IMAGE_KEY")

    rotated = a_store(image_key="b" * 16, image_key_before="a" * 16)
    rotated.fetch(NAME, digest=signed, into=target, stop=NEVER)
    assert rotated.put(dumped, name="17-3", stop=NEVER).digest != signed


EVIL = {
    "climbs out": (member("../../x"), "../../x"),
    "absolute": (member("/etc/passwd"), "/etc/passwd"),
    "in a folder": (member("a/b"), "a/b"),
    "its own folder": (member("."), "."),
    "link out": (member("x", b"", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "x"),
    "hard link": (member("x", b"", kind=tarfile.LNKTYPE, linkname="core-1.img"), "x"),
    "character device": (member("x", b"", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), "x"),
    "block device": (member("x", b"", kind=tarfile.BLKTYPE, devmajor=8), "x"),
    "fifo": (member("x", b"", kind=tarfile.FIFOTYPE), "x"),
    "folder": (member("x", b"", kind=tarfile.DIRTYPE), "x"),
    "set-user-id": (member("x", mode=0o4755), "x"),
    "set-group-id": (member("x", mode=0o2755), "x"),
    "sticky": (member("x", mode=0o1755), "x"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_member_that_is_no_plain_file_here_is_refused(
    store: ImageStore, store_folder: Path, target: Path, kind: str
) -> None:
    """Although the digest fits: whoever can sign still cannot write anywhere else, or make anything but files."""
    raw, name = EVIL[kind]
    assert [one.name for one in members_of(raw)] == [name]
    archive = archive_of(raw)

    # What manifests may name is limited in itself; this one names what it can.
    fits = {name: DATA} if "/" not in name and name != "." else {}
    digest = put(store_folder, NAME, archive, fits)

    assert_refused(store, digest, target, "member")


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "", ".", "..", "a b", "a\n", "x" * 256])
def test_a_manifest_that_names_anything_but_a_file_is_refused(
    store: ImageStore, store_folder: Path, target: Path, name: str
) -> None:
    """The manifest is judged before the archive is fetched."""
    digest = put(store_folder, NAME, archive_of(member("x")), {name: DATA})

    assert_refused(store, digest, target, "malformed")


@pytest.mark.parametrize(
    ("members", "files"),
    [
        ([member("a"), member("b")], {"a": DATA}),
        ([member("a")], {"a": DATA, "b": DATA}),
        ([member("a"), member("a")], {"a": DATA}),
        ([member("a", b"DATA")], {"a": DATA}),
        ([member("a", b"longer")], {"a": DATA}),
        ([member("a")], {"a": content_of(b"longer")}),
        ([b"no tar at all" * 100], {"a": DATA}),
        ([], {"a": DATA}),
    ],
    ids=["one more", "one less", "twice", "other bytes", "longer", "shorter", "no tar", "empty"],
)
def test_an_archive_that_is_not_its_manifest_is_refused(
    store: ImageStore, store_folder: Path, target: Path, members: list[bytes], files: dict[str, Content]
) -> None:
    """What was unpacked until then is the caller's to remove, and never used."""
    digest = put(store_folder, NAME, archive_of(*members), files)

    with pytest.raises(ImageRefused):
        store.fetch(NAME, digest=digest, into=target, stop=NEVER)


def test_a_member_of_another_size_is_not_even_begun(store: ImageStore, store_folder: Path, target: Path) -> None:
    """Its size stands in its header."""
    digest = put(store_folder, NAME, archive_of(member("a", b"longer")), {"a": DATA})

    assert_refused(store, digest, target, "is not what the manifest says")


def test_an_archive_that_is_no_zstd_is_refused(store: ImageStore, store_folder: Path, target: Path) -> None:
    """Compressed with something else, or not at all."""
    digest = put(store_folder, NAME, member("a"), {"a": DATA})

    assert_refused(store, digest, target, "malformed")


def test_a_kibibyte_that_unpacks_to_a_tebibyte_is_refused(store: ImageStore, store_folder: Path, target: Path) -> None:
    """A file full of holes: by the manifest's size if that is honest, as no plain file if it is not."""
    raw = sparse_member("pages-1.img", TEBIBYTE)
    assert members_of(raw)[0].size == TEBIBYTE
    archive = archive_of(raw)
    assert len(archive) < 1024

    honest = put(store_folder, NAME, archive, {"pages-1.img": Content(TEBIBYTE, "0" * 64)})
    assert_refused(store, honest, target, "CHECKPOINT_IMAGE_BYTES_MAX")

    store.discard(NAME)
    lying = put(store_folder, NAME, archive, {"pages-1.img": DATA})
    assert_refused(store, lying, target, "sparse")


def test_what_unpacks_to_more_than_it_says_is_ended_there(store: ImageStore, store_folder: Path, target: Path) -> None:
    """Zeros without end, or a header that claims 100 MB of a name: a few bytes of each are looked at, not all."""
    bomb = archive_of(member("x", bytes(100 * 2**20), kind=tarfile.GNUTYPE_LONGNAME))
    assert len(bomb) < 10_000

    assert_refused(store, put(store_folder, NAME, bomb, {"a": DATA}), target, "more than its manifest says")


@pytest.mark.parametrize(
    ("limit", "setting"),
    [("image_files_max", "FILES"), ("image_bytes_max", "BYTES"), ("image_ratio_max", "RATIO")],
)
def test_limits_hold_at_the_store_and_at_the_restore(
    a_store: Store, store_folder: Path, dumped: Path, target: Path, limit: str, setting: str
) -> None:
    """What would be refused later is not accepted: the run lives on instead."""
    strict = a_store(**{limit: 2})

    with pytest.raises(ImageRefused, match=f"CHECKPOINT_IMAGE_{setting}_MAX"):
        strict.put(dumped, name=NAME, stop=NEVER)
    assert list(store_folder.iterdir()) == []

    digest = a_store().put(dumped, name=NAME, stop=NEVER).digest
    assert_refused(strict, digest, target, f"CHECKPOINT_IMAGE_{setting}_MAX")


def test_a_disk_without_room_is_said_so(a_store: Store, dumped: Path, target: Path) -> None:
    """Before anything is fetched; another try may find room."""
    digest = a_store().put(dumped, name=NAME, stop=NEVER).digest
    full = a_store(free_bytes_min=2**60)

    with pytest.raises(EngineUnavailable, match="CHECKPOINT_FREE_BYTES_MIN"):
        full.fetch(NAME, digest=digest, into=target, stop=NEVER)

    assert list(target.iterdir()) == []

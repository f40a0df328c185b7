"""Where images are kept: a folder, or a bucket of an object store.

An image is two objects below its name, `<checkpoint id>-<epoch>`: the archive, then the manifest. The name is made of
integers and of nothing else, and each claim has its own, so that whoever discards an image never meets another's.
"""

import os
import re
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import IO, TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from shared.errors import EngineUnavailable, ImageRefused, Misconfigured, RunGone
from shared.settings import Settings
from workers.images.limits import Limits, expect_free
from workers.images.manifest import BYTES_MAX, Manifest, digest_of, read_manifest
from workers.images.pack import Packing
from workers.images.spool import compare, spool
from workers.images.unpack import unpack
from workers.node.private import private_folder

if TYPE_CHECKING:
    from obstore.store import ClientConfig

NAME: Final = re.compile(r"(?P<id>[1-9][0-9]{0,18})-(?P<epoch>[1-9][0-9]{0,9})")
ARCHIVE, MANIFEST = "image.tar.zst", "manifest.json"
# What is on its way to the store at once: 5 parts of 5 MiB, of which 4 are being sent.
PART_BYTES, PARTS_MAX = 5 * 2**20, 4
CONNECT_LIMIT: Final = "10s"
EARLIER_MAX: Final = 1_000
READ_ONLY: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that the store has: what its manifest must hash to, how large it is there, and unpacked."""

    digest: str
    image_bytes: int
    dump_bytes: int


class ImageStore:
    """Keeps images by their names.

    Args:
        settings: Where, with which keys, and the limits.

    Raises:
        Misconfigured: The URL is none that this understands.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        before = settings.image_key_before
        self._key = settings.image_key.get_secret_value().encode() if settings.image_key else None
        self._keys = [one for one in (self._key, before.get_secret_value().encode() if before else None) if one]
        self._folder = _folder_of(settings.image_store)
        self._store = _open(settings.image_store, settings.engine_timeout_ms)

    @property
    def is_shared(self) -> bool:
        """Whether every node has this store."""
        return self._folder is None or self._settings.image_store_shared

    def put(self, folder: Path, *, name: str, stop: Event) -> StoredImage:
        """Store the files of a folder as an image; one of the same name is replaced.

        Raises:
            EngineUnavailable: The store refuses, or does not answer; nothing of the image is left in it.
            EngineRevoked: `stop` was set; the same.
            ImageRefused: It is above a limit; the same.
        """
        _expect_name(name)
        files = [path.stat().st_size for path in folder.iterdir()]
        self._limits.check(name, files=len(files), size=sum(files), archive=sum(files))
        try:
            return self._put(Packing(folder, self._settings.image_level, stop), name)
        except BaseException:
            self._discard_if_possible(name)
            raise

    def _put(self, packing: Packing, name: str) -> StoredImage:
        self._ask(
            lambda: obstore.put(
                self._store,
                f"{name}/{ARCHIVE}",
                packing.stream(),
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_MAX,
            )
        )
        manifest = packing.manifest(name)
        self._limits.check(name, files=len(manifest.files), size=manifest.size, archive=manifest.archive.size)
        raw = manifest.encode()
        # Last: an image without a manifest is none.
        self._ask(lambda: obstore.put(self._store, f"{name}/{MANIFEST}", raw))
        if self._folder is not None:
            _write_through(self._folder, name)
        return StoredImage(digest_of(raw, key=self._key), manifest.archive.size + len(raw), manifest.size)

    def fetch(self, name: str, *, digest: str | None, into: Path, stop: Event) -> Manifest:
        """Unpack an image into an empty folder; it is compared with its digest before anything is unpacked.

        Args:
            name: The image's.
            digest: What the accepted checkpoint's row says.
            into: After any error the caller removes it.
            stop: Ends it.

        Raises:
            RunGone: There is no such image.
            ImageRefused: It is not what was accepted, or above a limit.
            EngineUnavailable: The store does not answer, or the disk is full.
            EngineRevoked: `stop` was set.
        """
        _expect_name(name)
        manifest = self._manifest(name, digest)
        self._limits.check(name, files=len(manifest.files), size=manifest.size, archive=manifest.archive.size)
        with self._archive(name, manifest, beside=into, stop=stop) as archive:
            unpack(archive, manifest, into=into, stop=stop)
        return manifest

    @contextmanager
    def _archive(self, name: str, manifest: Manifest, *, beside: Path, stop: Event) -> Generator[IO[bytes]]:
        """Open an archive that is known to be the manifest's, on this machine; there is room for its files."""
        reserve = self._settings.free_bytes_min
        if self._folder is not None:
            # Read where it is. Whoever could change it meanwhile could have before; each file is compared once more.
            expect_free(beside, manifest.size, reserve=reserve)
            path = self._folder / name / ARCHIVE
            with self._find(lambda: os.fdopen(os.open(path, READ_ONLY), "rb")) as archive:
                self._ask(lambda: compare(archive, manifest, stop=stop))
                yield archive
            return
        # At its worst both stand on the disk, the archive and its files.
        expect_free(beside, manifest.size + manifest.archive.size, reserve=reserve)
        with TemporaryFile(dir=beside.parent) as archive:
            self._find(lambda: spool(obstore.get(self._store, f"{name}/{ARCHIVE}"), manifest, archive, stop=stop))
            yield archive

    def _manifest(self, name: str, digest: str | None) -> Manifest:
        found = self._find(lambda: obstore.get(self._store, f"{name}/{MANIFEST}"))
        if found.meta["size"] > BYTES_MAX:
            raise ImageRefused(f"the manifest of image {name} has {found.meta['size']} bytes; too many.", name=name)
        return read_manifest(bytes(self._ask(found.bytes)), name=name, digest=digest, keys=self._keys)

    def discard(self, *names: str) -> None:
        """Remove images, or what half an upload left of them; one that is gone is ignored.

        Raises:
            EngineUnavailable: The store refuses, or does not answer.
        """
        for name in names:
            _expect_name(name)
        if self._folder is None:
            parts = [f"{name}/{part}" for name in names for part in (MANIFEST, ARCHIVE)]
            if parts:
                self._ask(lambda: obstore.delete(self._store, parts))
            return
        for name in names:
            # By hand: the store does not list what a killed upload left.
            folder = self._folder / name
            self._ask(lambda folder=folder: shutil.rmtree(folder) if folder.exists() else None)

    def _discard_if_possible(self, name: str) -> None:
        try:
            self.discard(name)
        except EngineUnavailable as error:
            # Whoever takes the checkpoint over, or closes it, tries again.
            log.warning("image.left-behind", name=name, error=error.message)

    def _find(self, question: Callable[[], T]) -> T:
        """Ask for what an image needs: if that is not there, neither is the run."""
        try:
            return self._ask(question)
        except EngineUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise RunGone(f"the image store has no such object: {_first_line(error.__cause__)}") from error
            raise

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (BaseError, OSError) as error:
            raise EngineUnavailable(f"the image store cannot do it now: {_first_line(error)}") from error


def earlier_names(name: str) -> list[str]:
    """Return the names that earlier claims of the same checkpoint had, at most 1,000: a try has one claim."""
    match = _expect_name(name)
    id_, epoch = match["id"], int(match["epoch"])
    return [f"{id_}-{earlier}" for earlier in range(max(1, epoch - EARLIER_MAX), epoch)]


def _expect_name(name: str) -> "re.Match[str]":
    match = NAME.fullmatch(name)
    if match is None:
        raise ImageRefused(f"{name!r} is no image's name; expected a checkpoint's id and an epoch, such as 17-1.")
    return match


def _folder_of(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" and not parts.netloc else None


@cache
def _open(url: str, timeout_ms: int) -> ObjectStore:
    folder = _folder_of(url)
    if folder is not None:
        with private_folder(folder, setting="CHECKPOINT_IMAGE_STORE"):
            return LocalStore(folder)
    if urlsplit(url).scheme != "s3":
        raise _wrong(url, "its kind is unknown")
    # A large image takes as long as an engine's command may; the usual limit of 30 s is for the whole of it.
    limits: ClientConfig = {"timeout": f"{timeout_ms}ms", "connect_timeout": CONNECT_LIMIT}
    if urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).scheme == "http":
        limits["allow_http"] = True
    try:
        return S3Store.from_url(url, client_options=limits)
    except (BaseError, ValueError) as error:
        raise _wrong(url, _first_line(error)) from error


def _wrong(url: str, problem: str) -> Misconfigured:
    return Misconfigured(
        f"CHECKPOINT_IMAGE_STORE is {url}: {problem}. Expected file:///FOLDER or s3://BUCKET/PREFIX.", url=url
    )


def _write_through(folder: Path, name: str) -> None:
    """Have the disk write an image down: the process is killed on the strength of it."""
    for path in (folder / name / ARCHIVE, folder / name / MANIFEST, folder / name, folder):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]

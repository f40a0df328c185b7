"""Images that no engine would make: written straight into a store's folder, with a manifest that fits or does not."""

import hashlib
import io
import tarfile
from pathlib import Path

from zstandard import ZstdCompressor

from workers.images.manifest import Content, Manifest, digest_of
from workers.images.store import ARCHIVE, MANIFEST


def content_of(data: bytes) -> Content:
    """Describe bytes as a manifest does."""
    return Content(len(data), hashlib.sha256(data).hexdigest())


def member(name: str, data: bytes = b"data", *, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """Return one member of a tar: header, data, padding."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, len(data)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def archive_of(*members: bytes) -> bytes:
    """Return an archive with these members."""
    return ZstdCompressor().compress(b"".join(members) + bytes(2 * tarfile.BLOCKSIZE))


def sparse_member(name: str, size: int) -> bytes:
    """Return a member of a few bytes that claims to be a file of `size` bytes, full of holes."""
    raw = bytearray(member(name, b"x" * tarfile.BLOCKSIZE, kind=tarfile.GNUTYPE_SPARSE))
    raw[386:410] = b"%011o\0%011o\0" % (0, tarfile.BLOCKSIZE)
    # Above 8 GiB in base 256, as GNU tar writes it.
    raw[483:495] = b"\x80" + size.to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


def put(folder: Path, name: str, archive: bytes, files: dict[str, Content], *, claims: Content | None = None) -> str:
    """Write an image into a store's folder; return the digest of its manifest.

    Args:
        folder: The store's.
        name: The image's.
        archive: Its bytes.
        files: What the manifest says of them.
        claims: What the manifest says of the archive; None: the truth.
    """
    manifest = Manifest(1, name, claims or content_of(archive), files).encode()
    (folder / name).mkdir(parents=True)
    (folder / name / ARCHIVE).write_bytes(archive)
    (folder / name / MANIFEST).write_bytes(manifest)
    return digest_of(manifest, key=None)


def members_of(archive: bytes) -> list[tarfile.TarInfo]:
    """Return what Python finds in a tar, to prove that a crafted one is what it should be."""
    return tarfile.open(fileobj=io.BytesIO(archive)).getmembers()

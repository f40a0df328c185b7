"""What an image consists of, and the digest by which Postgres knows it.

The digest covers the manifest, the manifest covers the archive and each file in it: whatever was changed, of
whichever part, shows before anything is unpacked. With a key the digest is a signature: who can write to the store
and to Postgres, but has not the key, cannot make an image that is restored.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from shared.errors import ImageRefused

PLAIN, SIGNED = "sha256", "hmac-sha256"
KEY_ID_LENGTH: Final = 16
BYTES_MAX: Final = 64 * 2**20

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?![\s\S])")]
Size = Annotated[int, Meta(ge=0)]
# No folders, and nothing that a path could hide in. Python's $ also stands before a last line break.
FileName = Annotated[str, Meta(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}$(?![\s\S])")]


class Content(Struct, frozen=True, forbid_unknown_fields=True):
    """How large something is, and what it hashes to (SHA-256)."""

    size: Size
    sha256: Hash


class Measured:
    """Bytes that pass by: counted and hashed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)
        self.size += len(chunk)

    def content(self) -> Content:
        """Return what they were so far."""
        return Content(self.size, self._hash.hexdigest())


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """An image: its name, its archive as it is stored, and the files that the archive holds."""

    v: Literal[1]
    name: str
    archive: Content
    files: dict[FileName, Content]

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(file.size for file in self.files.values())

    def encode(self) -> bytes:
        """Return the bytes that are stored and hashed."""
        return msgspec.json.encode(self, order="deterministic")


def digest_of(manifest: bytes, *, key: bytes | None) -> str:
    """Return what Postgres keeps of a manifest: its hash, or its signature and which key that is of."""
    if key is None:
        return f"{PLAIN}:{hashlib.sha256(manifest).hexdigest()}"
    return f"{SIGNED}:{_key_id(key)}:{hmac.new(key, manifest, hashlib.sha256).hexdigest()}"


def read_manifest(raw: bytes, *, name: str, digest: str | None, keys: Sequence[bytes]) -> Manifest:
    """Check a stored manifest against the digest that Postgres has, and read it.

    Args:
        raw: What the store returned.
        name: The image that was asked for.
        digest: What the accepted checkpoint's row says.
        keys: Those that may have signed it; with any, an unsigned image is refused.

    Raises:
        ImageRefused: It is not what was accepted, or not signed by one of the keys.
    """
    expected = [digest_of(raw, key=key) for key in keys] or [digest_of(raw, key=None)]
    if digest is None or not any(hmac.compare_digest(one, digest) for one in expected):
        raise ImageRefused(
            f"the manifest of image {name} is not the one that was accepted: its digest is {' or '.join(expected)}, "
            f"expected {digest}. It was changed in the store, or CHECKPOINT_IMAGE_KEY is not its checkpoint's.",
            name=name,
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ImageRefused(f"the manifest of image {name} is malformed: {error}", name=name) from error
    if manifest.name != name:
        raise ImageRefused(f"image {name} has the manifest of image {manifest.name}.", name=name)
    return manifest


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id\0" + key).hexdigest()[:KEY_ID_LENGTH]

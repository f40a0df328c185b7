"""An archive's files into a folder: nothing but what the manifest names, and never more than the limits.

Restoring memory is running code, so an archive is refused as a whole, never mended. It was compared with its
manifest before; these checks hold even if both were made by an attacker who can sign.
"""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Final, cast

from zstandard import ZstdDecompressor, ZstdError

from shared.errors import EngineRevoked, ImageRefused
from workers.images.manifest import Content, Manifest, Measured

CHUNK: Final = 2**20
WINDOW_BYTES_MAX: Final = 2**27
# Of a tar, for each file and at its end: headers, a long name, padding; a last record of 10 KiB.
OVERHEAD_BYTES_MAX: Final = 10_240
SPECIAL_BITS: Final = 0o7000
NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(archive: IO[bytes], manifest: Manifest, *, into: Path, stop: Event) -> None:
    """Unpack an archive whose manifest is within the limits.

    Args:
        archive: Its bytes.
        manifest: Names each file and its size; nothing else is written.
        into: An empty folder. After any error the caller removes it.
        stop: Ends it.

    Raises:
        ImageRefused: A member is no plain file that the manifest names, or has another content.
        EngineRevoked: `stop` was set.
    """
    left = dict(manifest.files)
    plain = ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX).stream_reader(archive, read_across_frames=False)
    bounded = _Bounded(plain, manifest.size + OVERHEAD_BYTES_MAX * (len(manifest.files) + 1), manifest.name)
    try:
        with plain, tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r|") as tar:
            for member in tar:
                _refuse_unless_plain(manifest.name, member, into)
                content = left.pop(member.name, None)
                if content is None or content.size != member.size:
                    raise _refused(manifest.name, member, "is not what the manifest says")
                _write(manifest.name, member, tar, content, into=into, stop=stop)
    except (tarfile.TarError, ZstdError) as error:
        raise ImageRefused(f"the archive of image {manifest.name} is malformed: {error}", name=manifest.name) from error
    if left:
        raise ImageRefused(f"the archive of image {manifest.name} lacks {', '.join(sorted(left))}.", name=manifest.name)


@dataclass(slots=True)
class _Bounded:
    """Bytes up to a limit: a header may claim any length, and tarfile believes it."""

    source: IO[bytes]
    left: int
    image: str

    def read(self, size: int) -> bytes:
        """Return up to so many bytes."""
        chunk = self.source.read(min(size, self.left + 1))
        self.left -= len(chunk)
        if self.left < 0:
            raise ImageRefused(
                f"the archive of image {self.image} unpacks to more than its manifest says.", name=self.image
            )
        return chunk


def _refuse_unless_plain(image: str, member: tarfile.TarInfo, into: Path) -> None:
    if not member.isreg() or member.issparse():
        raise _refused(image, member, "is a link, device, folder, pipe or sparse file; plain files are expected")
    if member.mode & SPECIAL_BITS:
        raise _refused(image, member, "has a set-user-id, set-group-id or sticky bit")
    if "/" in member.name or member.name in {"", ".", ".."}:
        raise _refused(image, member, "would leave its folder")
    # Python's own opinion as well, where it has one: from 3.11.4 on.
    data_filter = getattr(tarfile, "data_filter", None)
    if data_filter is not None:
        data_filter(member, str(into))


def _write(
    image: str, member: tarfile.TarInfo, tar: tarfile.TarFile, content: Content, *, into: Path, stop: Event
) -> None:
    source = cast("IO[bytes]", tar.extractfile(member))  # None only for what is no plain file
    measured = Measured()
    with source, os.fdopen(os.open(into / member.name, NEW_FILE, 0o600), "wb") as target:
        # Never beyond member.size, which is what the manifest says.
        while chunk := source.read(CHUNK):
            if stop.is_set():
                raise EngineRevoked("the image was not unpacked: its run is over")
            measured.add(chunk)
            target.write(chunk)
    if measured.content() != content:
        raise _refused(image, member, f"is {measured.content()}, expected {content}")


def _refused(image: str, member: tarfile.TarInfo, problem: str) -> ImageRefused:
    return ImageRefused(
        f"the archive of image {image} has a member {member.name!r} that {problem}.", name=image, member=member.name
    )

"""A folder of files as a compressed stream, made while it is read: memory does not grow with it."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

from zstandard import ZstdCompressor

from shared.errors import EngineRevoked
from workers.images.manifest import Content, Manifest, Measured

CHUNK: Final = 2**20
END: Final = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(slots=True)
class Packing:
    """The files of a folder on their way into an archive (tar, zstd).

    Args:
        folder: Files only.
        level: Of the compression.
        stop: Ends it.
    """

    folder: Path
    level: int
    stop: Event
    _files: dict[str, Content] = field(default_factory=dict[str, Content])
    _archive: Measured = field(default_factory=Measured)

    def stream(self) -> Iterator[bytes]:
        """Yield the archive.

        Raises:
            EngineRevoked: `stop` was set.
        """
        compress = ZstdCompressor(level=self.level, write_checksum=True).compressobj()
        for chunk in self._plain():
            if self.stop.is_set():
                raise EngineRevoked("the image was not stored: the checkpoint was revoked")
            yield from self._count(compress.compress(chunk))
        yield from self._count(compress.flush())

    def manifest(self, name: str) -> Manifest:
        """Describe what was packed, once the stream has ended."""
        return Manifest(1, name, self._archive.content(), self._files)

    def _plain(self) -> Iterator[bytes]:
        for path in sorted(self.folder.iterdir()):
            with path.open("rb") as file:
                entry = tarfile.TarInfo(path.name)
                entry.size, entry.mode = path.stat().st_size, 0o600
                yield entry.tobuf(tarfile.GNU_FORMAT)
                measured = Measured()
                while chunk := file.read(CHUNK):
                    measured.add(chunk)
                    yield chunk
                yield bytes(-entry.size % tarfile.BLOCKSIZE)
            self._files[path.name] = measured.content()
        yield END

    def _count(self, packed: bytes) -> Iterator[bytes]:
        if packed:
            self._archive.add(packed)
            yield packed

"""An archive on its way from the store to this machine: compared with its manifest before anything is unpacked."""

from collections.abc import Iterable, Iterator
from threading import Event
from typing import IO, TYPE_CHECKING, Final

from shared.errors import EngineRevoked, ImageRefused
from workers.images.manifest import Manifest, Measured

if TYPE_CHECKING:
    from obstore import GetResult

CHUNK: Final = 2**20


def spool(found: "GetResult", manifest: Manifest, archive: IO[bytes], *, stop: Event) -> None:
    """Copy an archive into a file, and return once it is known to be the manifest's.

    Raises:
        ImageRefused: It has other bytes, or too few or too many.
        EngineRevoked: `stop` was set.
    """
    for chunk in _compared(map(memoryview, found.stream(min_chunk_size=CHUNK)), manifest, stop=stop):
        archive.write(chunk)
    archive.seek(0)


def compare(archive: IO[bytes], manifest: Manifest, *, stop: Event) -> None:
    """Read an archive from its beginning, and return once it is known to be the manifest's.

    Raises:
        ImageRefused: It has other bytes, or too few or too many.
        EngineRevoked: `stop` was set.
    """
    for _ in _compared(iter(lambda: archive.read(CHUNK), b""), manifest, stop=stop):
        pass
    archive.seek(0)


def _compared(chunks: Iterable[bytes | memoryview], manifest: Manifest, *, stop: Event) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an archive, never more than the manifest says."""
    measured = Measured()
    for chunk in chunks:
        if stop.is_set():
            raise EngineRevoked("the image was not fetched: its run is over")
        measured.add(chunk)
        if measured.size > manifest.archive.size:
            break
        yield chunk
    if measured.content() != manifest.archive:
        raise ImageRefused(
            f"the archive of image {manifest.name} is {measured.content()}, expected {manifest.archive}. "
            "It was changed, or only a part of it was stored.",
            name=manifest.name,
        )

"""An archive on its way from the store to this machine: compared with its manifest as it comes."""

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
    measured = Measured()
    for buffer in found.stream(min_chunk_size=CHUNK):
        if stop.is_set():
            raise EngineRevoked("the image was not fetched: its run is over")
        chunk = memoryview(buffer)
        measured.add(chunk)
        if measured.size > manifest.archive.size:
            break
        archive.write(chunk)
    if measured.content() != manifest.archive:
        raise ImageRefused(
            f"the archive of image {manifest.name} is {measured.content()}, expected {manifest.archive}. "
            "It was changed, or only a part of it was stored.",
            name=manifest.name,
        )
    archive.seek(0)

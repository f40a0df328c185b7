"""A store in a folder of the test's own, and folders full of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings
from workers.images.store import ImageStore


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    """Where the store keeps its objects."""
    return tmp_path / "store"


@pytest.fixture
def a_store(store_folder: Path) -> Callable[..., ImageStore]:
    """Open the store, with whatever settings are given."""

    def open_(**settings: Any) -> ImageStore:
        return ImageStore(Settings.model_validate({"image_store": store_folder.as_uri(), **settings}))

    return open_


@pytest.fixture
def store(a_store: Callable[..., ImageStore]) -> ImageStore:
    """The store with its usual settings."""
    return a_store()


@pytest.fixture
def dumped(tmp_path: Path) -> Path:
    """A folder with the files of an image: small, empty, and one that compresses well."""
    folder = tmp_path / "dumped"
    folder.mkdir()
    (folder / "core-1.img").write_bytes(bytes(range(256)) * 10)
    (folder / "empty.img").touch()
    (folder / "pages-1.img").write_bytes(b"page" * 100_000)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty folder to unpack into."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder

"""Defaults of settings that depend on the machine, its user and the database."""

import hashlib
import os
import platform
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr


def default_image_store(data: Mapping[str, Any]) -> str:
    """Return a folder of this user that survives a restart of the machine, as a URL; another for each database."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return (Path(state) / "checkpoints" / f"images-{_database(data)}").absolute().as_uri()


def default_work_folder(data: Mapping[str, Any]) -> Path:
    """Return a folder of this user; another for each database, since claims are named by the ids of its rows."""
    return Path(tempfile.gettempdir()) / f"checkpoint-work-{os.getuid()}-{_database(data)}"


def default_lock_folder() -> Path:
    """Return a folder of this user; the same for all databases, since they may name the same workloads."""
    return Path(tempfile.gettempdir()) / f"checkpoint-locks-{os.getuid()}"


def default_node() -> str:
    """Return the host name as a node name: lower case, every other character as `-`."""
    name = re.sub(r"[^a-z0-9-]", "-", platform.node().lower())[:63].lstrip("-")
    return name or "node"


def _database(data: Mapping[str, Any]) -> str:
    """Return what tells a database from others, without its password."""
    url = data.get("database_url")
    parts = urlsplit(url.get_secret_value() if isinstance(url, SecretStr) else "")
    return hashlib.sha256(f"{parts.hostname}:{parts.port}{parts.path}".encode()).hexdigest()[:12]

"""Which system a command speaks to: the one that the environment names, else the `up` on the data folder."""

import os
from pathlib import Path

from shared.settings import PREFIX, Settings, read_settings
from workers.cli.running import running


def target_settings(data: Path | None = None) -> Settings:
    """Return the settings of the system that a command speaks to.

    Args:
        data: The folder of a running `up`; None: `.checkpoints`.

    Raises:
        Misconfigured: Some settings are wrong.
    """
    if f"{PREFIX}DATABASE_URL" not in os.environ:
        os.environ.update(running(data or Path(".checkpoints")) or {})
    return read_settings()

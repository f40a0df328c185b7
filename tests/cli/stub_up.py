"""`checkpoints up` with other workers: `stub_up.py DATA PROCFILE [READY_SECONDS]`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from shared.errors import DeferredCheckpointError
from workers.cli.up import READY_SECONDS, Plan, run_up


def prepare(environment: Mapping[str, str]) -> None:
    """Leave a mark that the workers were not started before it."""
    (Path(sys.argv[1]) / "prepared").write_text(environment["CHECKPOINT_DATABASE_URL"])


def is_ready(environment: Mapping[str, str], _seconds: float) -> bool:
    """Have no further wishes."""
    return "CHECKPOINT_NODE" in environment


def main() -> int:
    """Run it as the command does."""
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else READY_SECONDS
    try:
        return run_up(Path(sys.argv[1]), Plan(Path(sys.argv[2]), prepare, is_ready, ready_seconds=seconds))
    except DeferredCheckpointError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())

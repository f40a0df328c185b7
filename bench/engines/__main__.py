"""`make bench-engines`: what each engine's phases take, and how much longer than the bare tool by hand.

    python -m bench.engines [--engines process docker cri] [--megabytes 0 10 200 1000] [--kinds random text]
                            [--rounds 9] [--large-rounds 3] [--folder /var/tmp]

As root. In each round a run is frozen and brought back here, then another one with the bare tool, both on the same
disk; the table has the medians, and the ratios are theirs. From 500 MB on there are fewer rounds. An engine that this
machine does not have is left out, and the table's end says why.
"""

import argparse
import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import structlog

from bench.engines import table
from bench.engines.cri import CRI
from bench.engines.docker import DOCKER
from bench.engines.process import PROCESS
from bench.engines.rounds import Round, measure
from bench.engines.subject import Candidate, Heap
from shared.settings import Settings

LARGE = 500
CANDIDATES = {one.name: one for one in (PROCESS, DOCKER, CRI)}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(prog="python -m bench.engines")
    options.add_argument("--engines", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    options.add_argument("--megabytes", nargs="+", type=int, default=[0, 10, 200, 1000])
    options.add_argument("--kinds", nargs="+", choices=("random", "text"), default=["random", "text"])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--large-rounds", type=int, default=3)
    options.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on the disk to measure")  # noqa: S108 - a disk
    chosen = options.parse_args()
    # Told to stop, it ends what it started, as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    heaps = [Heap(size, kind) for size in chosen.megabytes for kind in chosen.kinds if size or kind == chosen.kinds[0]]
    missing: dict[str, str] = {}
    print(table.caption(chosen.folder), table.HEAD, sep="\n\n", flush=True)
    for candidate in map(CANDIDATES.__getitem__, chosen.engines):
        if (why := candidate.why_not()) is not None:
            missing[candidate.name] = why
            continue
        with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="bench-") as name:
            plan = [(heap, chosen.rounds if heap.megabytes < LARGE else chosen.large_rounds) for heap in heaps]
            for heap, rounds in _rounds(candidate, plan, Path(name)):
                print(table.row(candidate.name, heap, rounds), flush=True)
    for name, why in missing.items():
        print(f"\nThe engine {name} was left out: {why}.")


def _rounds(candidate: Candidate, plan: list[tuple[Heap, int]], folder: Path) -> Iterator[tuple[Heap, list[Round]]]:
    settings = Settings.model_validate({"work_folder": folder / "work", "image_store": (folder / "images").as_uri()})
    with candidate.open(folder / "engine", settings) as subject:
        measure(subject, Heap(0, "random"), folder=folder / "warm-up", number=1)
        number = 1
        for heap, count in plan:
            rounds: list[Round] = []
            for _ in range(count):
                number += 1
                rounds.append(measure(subject, heap, folder=folder / str(number), number=number))
            yield heap, rounds


if __name__ == "__main__":
    main()

"""The demo itself: let all runs end, see that nothing is left to do, check, and sum up."""

import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.console import Console

from shared.db.demo import Waits, count_waits
from shared.db.pool import Pool, open_pool
from shared.settings import Settings
from shared.vocabulary import EngineName
from workers.cli.demo.ledger import example, problems, read_ledgers, repeats
from workers.cli.demo.patience import Away, until_answered
from workers.cli.demo.plan import plan
from workers.cli.demo.summary import Summary, latency
from workers.cli.demo.table import View
from workers.cli.demo.upstream import Upstream
from workers.cli.demo.workloads import wait_for_end
from workers.cli.up import Stopped
from workers.engines.processes import is_stopped

# Longer than the first gaps after which anything lost is sent again.
STALL_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 15.0
STOP_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.25

Look = Callable[[], Waits]


def play(settings: Settings, *, runs: int, folder: Path, engine: EngineName, console: Console) -> Summary:
    """Let the runs of a demo go through their waits; return what became of them.

    Raises:
        Away: Postgres or Redis did not answer for long.
        Refused: A rule said no to a message of ours.
    """
    began = time.monotonic()
    with (
        closing(open_pool(settings, name="demo", size=1)) as pool,
        _runs_of(Upstream(settings, plan(runs), folder, engine=engine), pool) as (upstream, look),
    ):
        with View(console) as view:
            wrong = _let_all_end(upstream, look, view)
        seconds = time.monotonic() - began
        upstream.listen_no_more()
        waits = _settled(look, seconds=SETTLE_SECONDS)
        entries = read_ledgers(folder)
        wrong += upstream.troubles + _left(folder) + problems(entries, upstream.expected)
        if waits.left_to_do:
            wrong.append(f"{waits.left_to_do} rows have work left to do")
        return Summary(
            runs=runs,
            engine=engine,
            seconds=round(seconds, 2),
            waits=waits,
            memory=upstream.memory.held(),
            repeats_ignored=repeats(entries),
            latency={mode: one for mode, all_of in upstream.seconds.items() if (one := latency(all_of))},
            problems=wrong,
            example_run=example(entries) or upstream.run_ids[0],
        )


@contextmanager
def _runs_of(upstream: Upstream, pool: Pool) -> Generator[tuple[Upstream, Look]]:
    """Have the runs, and a look at their rows; in the end neither a process nor an image of them is left."""

    def count() -> Waits:
        with pool.connection() as conn:
            return count_waits(conn, upstream.run_ids)

    def look() -> Waits:
        return until_answered(count)

    try:
        yield upstream, look
    except Stopped:
        upstream.close()
        # Workers of our own end next: until then they remove the images of runs that were frozen.
        with suppress(Away):
            _settled(look, seconds=STOP_SECONDS)
        raise
    finally:
        upstream.close()


def _let_all_end(upstream: Upstream, look: Look, view: View) -> list[str]:
    """Turn until every run has ended; return what is wrong if nothing happens any more."""
    waits = look()
    looked = happened = time.monotonic()
    while upstream.unfinished:
        if upstream.turn(frozen=waits.frozen_now):
            happened = time.monotonic()
        if time.monotonic() - looked >= LOOK_SECONDS:
            waits = look()
            view.show(upstream.states, waits, held_bytes=upstream.measure())
            looked = time.monotonic()
        if looked - happened > STALL_SECONDS:
            return [f"nothing happened for {STALL_SECONDS:g} s, and {upstream.unfinished} runs have not ended"]
    return []


def _left(folder: Path) -> list[str]:
    """Return each process of a run that is still there, a sentence each."""
    return [
        f"process {one.pid} of a run {'stands still' if is_stopped(one) else 'is left'}" for one in wait_for_end(folder)
    ]


def _settled(look: Look, *, seconds: float) -> Waits:
    """Wait until no row has work left to do, within a limit; return how things stand then."""
    deadline = time.monotonic() + seconds
    while (waits := look()).left_to_do and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return waits

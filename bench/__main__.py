"""`make bench`: a wait that ends in its delay, here and with Celery alone, in one run, with their ratio.

    python -m bench [--waits 5000] [--stock-waits 1000] [--rounds 3]

CPU is that of all processes that take part: client, worker, Postgres, Redis. Medians of the rounds, alternated.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.meter import Cost
from bench.ours import Ours
from bench.stock import Stock
from workers.cli.postgres_server import postgres_server
from workers.cli.redis_server import redis_server
from workers.cli.servers import EmbeddedServer


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--waits", type=int, default=5_000)
    options.add_argument("--stock-waits", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        postgres, redis, other = (
            postgres_server(folder / "postgres"),
            redis_server(folder / "redis"),
            redis_server(folder / "redis-of-stock"),
        )
        for server in (postgres, redis, other):
            server.start()
            server.wait_ready()
        ours = Ours(
            postgres.url,
            redis.url,
            roots={"postgres": _pid(postgres), "redis": _pid(redis)},
            log=folder / "ours.log",
        )
        stock = Stock(other.url, roots={"redis": _pid(other)}, log=folder / "stock.log")
        ours.pairs(500)
        stock.pairs(100)
        mine: list[Cost] = []
        theirs: list[Cost] = []
        for _ in range(chosen.rounds):
            mine.append(ours.pairs(chosen.waits))
            theirs.append(stock.pairs(chosen.stock_waits))
        latencies = sorted(ours.latencies(300))
        for closing in (ours, stock):
            closing.close()
        for server in (postgres, redis, other):
            server.stop()
    ours_ms = _show("this system (durable in Postgres)", mine, chosen.waits)
    stock_ms = _show("Celery alone (countdown, revoke, task)", theirs, chosen.stock_waits)
    print(f"CPU of Celery alone over ours: {stock_ms / ours_ms:.1f} times")
    print(
        f"completion called to continuation heard, one at a time: "
        f"p50 {latencies[len(latencies) // 2] * 1e3:.1f} ms, p99 {latencies[len(latencies) * 99 // 100] * 1e3:.1f} ms"
    )


def _pid(server: EmbeddedServer) -> int:
    if server.process is None:
        raise LookupError(f"{server.name} was not started here")
    return server.process.pid


def _show(title: str, costs: list[Cost], count: int) -> float:
    """Print the median round; return its CPU in ms a wait."""
    middle = sorted(costs, key=lambda cost: cost.cpu_total)[len(costs) // 2]
    parts = ", ".join(f"{name} {seconds / count * 1e3:.3f}" for name, seconds in middle.cpu_seconds.items())
    rate = count / statistics.median(cost.wall_seconds for cost in costs)
    per_wait = middle.cpu_total / count * 1e3
    print(f"{title}: {per_wait:.3f} ms CPU a wait ({parts}), {rate:,.0f} waits/s")
    return per_wait


if __name__ == "__main__":
    main()

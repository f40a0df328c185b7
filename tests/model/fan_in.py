"""Completions of one batch under READ COMMITTED: every order of their statements, three ways to count.

A statement sees what is committed and its own transaction's changes; a row that another open transaction changed
makes it wait (an order in which it would have to is left out: the one in which it comes later is there too).
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import permutations

STATEMENTS = 3  # mark the item, count, commit


class Way(StrEnum):
    """How a transaction finds out that its item was the last one."""

    COUNT = "count"
    """`UPDATE item`, then `SELECT count(*) WHERE NOT done`."""
    COUNTER = "counter"
    """`UPDATE item`, then `UPDATE batch SET open = open - 1 RETURNING open`."""
    GUARDED = "guarded"
    """The same, but only if the first statement changed a row: what `batch_item` does."""


@dataclass(slots=True)
class _Transaction:
    item: int
    statement: int = 0
    is_first: bool = False
    counts_down: bool = False
    is_last: bool = False


@dataclass(slots=True)
class _Batch:
    items: frozenset[int]
    done: set[int] = field(default_factory=set[int])
    locks: dict[int | str, _Transaction] = field(default_factory=dict[int | str, _Transaction])
    counted: int = 0
    resumed: int = 0
    is_early: bool = False

    def lock(self, row: int | str, mine: _Transaction) -> bool:
        return self.locks.setdefault(row, mine) is mine


def outcomes(way: Way, items: tuple[int, ...]) -> Counter[str]:
    """Count how the orders end: `once`, `never`, `twice` or `early`; an item named twice is completed twice."""
    found: Counter[str] = Counter()
    turns = [n for n in range(len(items)) for _ in range(STATEMENTS)]
    for order in set(permutations(turns)):
        outcome = _run(way, items, order)
        if outcome:
            found[outcome] += 1
    return found


def _run(way: Way, items: tuple[int, ...], order: tuple[int, ...]) -> str | None:
    transactions = [_Transaction(item) for item in items]
    batch = _Batch(frozenset(items))
    for turn in order:
        if not _step(way, batch, transactions[turn]):
            return None
    if batch.is_early:
        return "early"
    return {0: "never", 1: "once"}.get(batch.resumed, "twice")


def _step(way: Way, batch: _Batch, mine: _Transaction) -> bool:
    """Run the next statement of a transaction; False: it would have to wait."""
    mine.statement += 1
    if mine.statement == 1:
        mine.is_first = mine.item not in batch.done
        return batch.lock(mine.item, mine)
    if mine.statement == STATEMENTS:
        _commit(batch, mine)
        return True
    if way is Way.COUNT:
        mine.is_last = batch.items <= batch.done | {mine.item}
    elif way is Way.COUNTER or mine.is_first:
        mine.counts_down = True
        mine.is_last = batch.counted + 1 == len(batch.items)
        return batch.lock("batch", mine)
    return True


def _commit(batch: _Batch, mine: _Transaction) -> None:
    batch.done.add(mine.item)
    batch.counted += mine.counts_down
    batch.locks = {row: holder for row, holder in batch.locks.items() if holder is not mine}
    if mine.is_last:
        batch.resumed += 1
        batch.is_early |= not batch.items <= batch.done

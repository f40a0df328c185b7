"""No statement walks over a table, whatever the planner believes of it: fresh, stale, or a plan from its first hour."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import psycopg
import pytest
from databases import a_database
from explained import Plan, explained
from full_tables import ROWS, analyze, fill, prepare
from psycopg import Connection
from pydantic import SecretStr
from work_on_tables import WORK

from shared.db.pool import connect
from shared.settings import Settings

Believed = Literal["fresh", "never", "small", "kept"]
SMALL = 100
# Read in their order, until there is enough; there are few nodes, and one falls silent rarely.
IN_ORDER = {"dependency_look_at", "checkpoint_look_at", "rejection_pkey", "node_pkey", "one_open_wait"}


@pytest.fixture(scope="module", params=["fresh", "never", "small", "kept"])
def full(request: pytest.FixtureRequest) -> Iterator[Connection[Any]]:
    """Full tables, and a connection whose planner knows them, never heard of them, or knew them small.

    `kept`: it also keeps the plans that it made then, as workers do that were started before the first wait.
    """
    believed: Believed = request.param
    with a_database() as url, connect(Settings(database_url=SecretStr(url)), name="test") as conn:
        conn.prepare_threshold = 0
        prepare(conn)
        if believed in {"small", "kept"}:
            fill(conn, 1, SMALL)
            analyze(conn)
        if believed == "kept":
            conn.execute("SET plan_cache_mode = force_generic_plan")
            for work, _, _ in WORK.values():
                with suppress(AssertionError), conn.transaction(force_rollback=True):
                    work(conn)
        with psycopg.connect(url, autocommit=True) as other:
            fill(other, SMALL + 1 if believed in {"small", "kept"} else 1, ROWS)
            if believed == "fresh":
                analyze(other)
        yield conn


@pytest.mark.parametrize("name", WORK)
def test_a_statement_reads_a_few_pages_for_each_row(name: str, full: Connection[Any]) -> None:
    """It finds its rows by their index, and never by walking over all, or over all that are open."""
    work, rows, pages = WORK[name]
    if rows == 1:
        # The first statement of its kind in a session also reads the catalogue.
        with full.transaction(force_rollback=True):
            work(full)

    with full.transaction(force_rollback=True), explained(full) as plans:
        work(full)

    assert plans
    for plan in plans:
        assert plan.walks("dependency", "checkpoint") == [], plan
        assert plan.walked_indexes() <= IN_ORDER, plan
    most = max(plans, key=_pages)
    assert most.pages <= rows * pages, f"{most.pages / rows} pages a row\n{most}"


def _pages(plan: Plan) -> int:
    return plan.pages

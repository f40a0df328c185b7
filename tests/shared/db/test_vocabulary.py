"""Python holds the names, Postgres the same words and the moves between them."""

import itertools
import re
from collections.abc import Iterator
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import Connection
from sql_door import Door, SqlDoor

from shared.vocabulary import CancelReason, CheckpointStatus, EngineName, OutcomeType, WaitReason

ROOT: Final = Path(str(files("shared"))).parent
SQL: Final = ROOT / "shared" / "sql"
# Source: the contract, section 1.
CODES: Final = {
    "invalid-message": "CK001",
    "unsupported-version": "CK002",
    "too-large": "CK003",
    "unknown-field": "CK004",
    "waits-for-itself": "CK005",
    "wait-conflict": "CK010",
    "checkpoint-in-progress": "CK011",
    "attempt-superseded": "CK012",
    "wait-number-too-low": "CK013",
    "dependency-taken": "CK014",
    "run-over": "CK015",
    "unknown-item": "CK020",
    "batch-sealed": "CK021",
    "too-many-waits": "CK030",
    "isolation-level": "CK031",
    "illegal-move": "CK090",
}


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection[Any]]:
    """A connection to a migrated database."""
    with psycopg.connect(database_url, autocommit=True) as one:
        yield one


def moves(conn: Connection[Any]) -> dict[tuple[str, str], str]:
    """Return the legal moves of a checkpoint, each with its event."""
    return {(a, b): event for a, b, event in conn.execute("SELECT from_status, to_status, event FROM checkpoint_move")}


def headers() -> dict[str, tuple[str, str]]:
    """Return the move that each statement's header names."""
    found = {path.stem: re.match(r"-- move: (\w+) -> (\w+)\n", path.read_text()) for path in SQL.glob("checkpoint/*")}
    return {name: (header[1], header[2]) for name, header in found.items() if header}


def test_the_refusal_codes_are_those_of_the_contract(conn: Connection[Any]) -> None:
    """Other programs depend on each code and its SQLSTATE."""
    assert dict(conn.execute("SELECT code, sqlstate FROM refusal_code").fetchall()) == CODES


def test_every_refusal_in_the_code_has_a_known_code() -> None:
    """A code with a slip would end an SQL call with an error of Postgres'."""
    in_sql = re.findall(r"refusal\(\s*'([a-z-]+)'", "".join(path.read_text() for path in SQL.glob("migrations/*.sql")))
    in_python = re.findall(r'\bcode="([a-z-]+)"', (ROOT / "shared" / "reading.py").read_text())

    assert {*in_sql, *in_python} <= CODES.keys()
    assert in_sql
    assert in_python


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT reason FROM wait_reason", WaitReason),
        ("SELECT reason FROM cancel_rule", CancelReason),
        ("SELECT from_status FROM checkpoint_move UNION SELECT to_status FROM checkpoint_move", CheckpointStatus),
    ],
    ids=["wait reasons", "cancel reasons", "statuses"],
)
def test_postgres_holds_the_same_words(query: str, words: type[StrEnum], conn: Connection[Any]) -> None:
    """A word that only one of them knows would be refused or never handled."""
    assert {word for (word,) in conn.execute(query.encode())} == set(words)


@pytest.mark.parametrize(
    ("door", "message", "words"),
    [
        ("defer", '{"v": 1, "run_id": "r", "attempt": 1, "wait_number": 1, "reason": "?"}', WaitReason),
        (
            "defer",
            (
                '{"v": 1, "run_id": "r", "attempt": 1, "wait_number": 1, "reason": "WAIT_FOR_TASK",'
                ' "dependency": {"id": "d"}, "workload": {"engine": "?"}}'
            ),
            EngineName,
        ),
        ("cancel", '{"v": 1, "run_id": "r", "reason": {"type": "?"}}', CancelReason),
        ("complete", '{"v": 1, "dependency_id": "d", "outcome_type": "?"}', OutcomeType),
    ],
    ids=["wait reasons", "engines", "cancel reasons", "outcome types"],
)
def test_the_sql_door_expects_the_same_words(
    door: Door, message: str, words: type[StrEnum], conn: Connection[Any]
) -> None:
    """What the SQL door lists as allowed is what Python knows."""
    refusal = SqlDoor(conn).refusal(door, message)

    assert refusal["facts"]["expected"] == f"one of {', '.join(words)}"


def test_each_statement_makes_a_move_of_the_table(conn: Connection[Any]) -> None:
    """The header of a statement names a legal move, whose event is the statement's name."""
    legal = moves(conn)

    assert headers()
    assert {name: legal.get(move) for name, move in headers().items()} == {name: name for name in headers()}


def test_each_move_is_made_by_a_statement(conn: Connection[Any]) -> None:
    """No move is legal that nothing makes; `cancel` is a function, `end_waits`."""
    assert set(moves(conn).values()) == headers().keys() | {"cancel"}


def test_only_the_moves_of_the_table_are_made(conn: Connection[Any]) -> None:
    """The net under the statements: any other change of status is refused by the row itself."""
    conn.execute(
        "INSERT INTO dependency (id, run_id, registered_at) SELECT s, s, now() FROM unnest(%s::text[]) s",
        [list(CheckpointStatus)],
    )
    conn.execute(
        "INSERT INTO checkpoint (dependency_id, run_id, wait_number, node, workload, status, epoch, tries, claimed_at,"
        " due_at, location, lease_until, restored_at, lost_at) SELECT s, s, 1, 'n', '{}', s, 1, 0, now(), now(),"
        " CASE WHEN s NOT IN ('taking', 'deferred') THEN 'x' END, CASE WHEN s = 'restoring' THEN now() END,"
        " CASE WHEN s = 'restored' THEN now() END, CASE WHEN s = 'lost' THEN now() END FROM unnest(%s::text[]) s",
        [list(CheckpointStatus)],
    )
    pairs = set(itertools.permutations([str(status) for status in CheckpointStatus], 2))

    refused = {pair for pair in pairs if _sqlstate_of_move(conn, *pair) == "CK090"}

    assert pairs - refused == set(moves(conn))


def _sqlstate_of_move(conn: Connection[Any], from_status: str, to_status: str) -> str | None:
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("UPDATE checkpoint SET status = %s WHERE dependency_id = %s", [to_status, from_status])
    except psycopg.Error as error:
        return error.sqlstate  # a legal move may miss what else its statement sets
    return None

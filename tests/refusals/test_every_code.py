"""Every code of the contract at every door that can give it, with the same facts, and nothing is changed."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from databases import a_database
from message_door import MessageDoor
from psycopg import IsolationLevel
from refusable import Refusable, Said, refusable, struct_of
from sql_door import SqlDoor

from shared.client import Checkpoints, Refused

CODES = list(refusable())
RECEIPTS = "continuations.receipts"


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A database that the tests share: each keeps to runs of its own."""
    with a_database() as url:
        yield url


def fields_of(case: Refusable, facts: dict[str, Any]) -> object:
    """Return what the facts of a refusal name: a field, or else whose the message is."""
    return facts.get("field") if case.names is not None else facts.get("run_id") or facts.get("dependency_id")


def expected_of(case: Refusable) -> object:
    """Return what they should name."""
    said = case.said[1]
    return case.names or said.get("run_id") or said.get("dependency_id")


@pytest.mark.parametrize("code", CODES)
def test_the_message_door_answers_it(code: str, message_door: MessageDoor, sql_door: SqlDoor) -> None:
    """`run.refused` goes to the receipt's queue, names the message, and is kept."""
    case = refusable()[code]
    sql_door.set_setting(**case.settings)
    message_door.say(*case.before)
    before = sql_door.counts()
    door, fields = case.said

    (id_,) = message_door.say((door, fields | {"receipt_to": RECEIPTS}))

    (refused,) = message_door.refusals(RECEIPTS)
    assert (refused.code, refused.id, refused.message) == (
        code,
        id_,
        f"{'dependency' if door == 'complete' else 'checkpoint'}.{door}",
    )
    assert refused.run_id == fields.get("run_id")
    assert fields_of(case, refused.facts) == expected_of(case)
    assert sql_door.counts() == before
    kept = message_door.rejections()[-1]
    assert kept["message_id"] == id_
    assert (kept["code"], kept["problem"], kept["facts"]) == (code, refused.problem, refused.facts)


@pytest.mark.parametrize("code", CODES)
def test_the_sql_door_raises_it(code: str, sql_door: SqlDoor) -> None:
    """An error with the code's own SQLSTATE."""
    case = refusable()[code]
    sql_door.set_setting(**case.settings)
    for said in case.before:
        sql_door.call(*said)
    before = sql_door.counts()

    refusal = sql_door.refusal(*case.said)

    assert refusal["code"] == code
    assert fields_of(case, refusal["facts"]) == expected_of(case)
    assert sql_door.counts() == before


@pytest.mark.parametrize("is_own_transaction", [False, True], ids=["by itself", "in the caller's transaction"])
@pytest.mark.parametrize("code", [code for code in CODES if code != "unknown-field"])
def test_the_client_raises_it(
    code: str,
    is_own_transaction: bool,  # noqa: FBT001
    client: Checkpoints,
    sql_door: SqlDoor,
) -> None:
    """`Refused` with the code; the caller's transaction can go on. The types have no unknown field."""
    case = refusable()[code]
    sql_door.set_setting(**case.settings)
    conn = sql_door.conn if is_own_transaction else None

    def call(said: Said) -> object:
        return getattr(client, said[0])(struct_of(said), conn=conn)

    for said in case.before:
        call(said)
    before = sql_door.counts()

    with sql_door.conn.transaction(), pytest.raises(Refused) as refused:
        call(case.said)

    assert refused.value.code == code
    assert fields_of(case, refused.value.facts) == expected_of(case)
    assert sql_door.counts() == before


def test_an_unknown_field_is_none_of_the_clients() -> None:
    """Python itself refuses it where the message is written."""
    with pytest.raises(TypeError, match="result"):
        struct_of(refusable()["unknown-field"].said)


@pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE], ids=lambda it: it.name)
def test_the_client_in_a_transaction_of_another_level_is_refused(
    level: IsolationLevel, client: Checkpoints, sql_door: SqlDoor
) -> None:
    """`isolation-level`: it would judge by what was before our locks; it is an error of the transaction."""
    wait = struct_of(refusable()["wait-conflict"].before[0])
    before = sql_door.counts()
    sql_door.conn.isolation_level = level

    with sql_door.conn.transaction(), pytest.raises(psycopg.Error) as refused:
        client.defer(wait, conn=sql_door.conn)

    assert refused.value.sqlstate == "CK031"
    assert sql_door.counts() == before


def test_the_table_of_codes_is_the_contracts(sql_door: SqlDoor) -> None:
    """No code but those above, that of another isolation level, and that of a bug of ours."""
    known = {code for (code,) in sql_door.conn.execute("SELECT code FROM refusal_code")}

    assert known == {*CODES, "isolation-level", "illegal-move"}

"""The SQL door as any language with a Postgres driver has it; here with `psql` alone."""

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import ByHand
from runs import Run

from shared.client import Checkpoints
from shared.settings import Settings
from shared.vocabulary import Mode
from workers.node.node import Node

pytestmark = pytest.mark.skipif(shutil.which("psql") is None, reason="there is no `psql` on the PATH")


@pytest.fixture
def psql(settings: Settings) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in psql, its variables quoted by psql itself."""

    def call(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]
        for name, value in variables.items():
            argv += ["-v", f"{name}={value}"]
        argv += [settings.database_url.get_secret_value()]
        return subprocess.run(argv, input=script, capture_output=True, check=False, timeout=30, text=True)

    return call


@pytest.fixture
def hand(node: Node, client: Checkpoints) -> ByHand:
    """The workers, acting when they are told to."""
    return ByHand(node, client)


def wait_of(run: Run, **fields: Any) -> str:
    """Return the JSON of a wait."""
    usual = {
        "v": 1,
        "run_id": run.id,
        "attempt": 1,
        "wait_number": 1,
        "reason": "WAIT_FOR_TASK",
        "dependency": {"id": f"{run.id}/1"},
        "workload": run.workload.to_json(),
    }
    return json.dumps(usual | fields)


def test_a_wait_in_ones_own_transaction_goes_on_in_another(
    psql: Callable[..., subprocess.CompletedProcess[str]], hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Register with a row of one's own, complete, read the outcome, claim, be done: each answer is JSON."""
    run = a_run()
    registered = psql(
        "BEGIN; CREATE TABLE job (id text); INSERT INTO job VALUES ('mine');"
        " SELECT defer_checkpoint(:'wait'::jsonb); COMMIT;",
        wait=wait_of(run),
    )
    assert json.loads(registered.stdout)["will_checkpoint"] is True
    completion = {
        "v": 1,
        "dependency_id": f"{run.id}/1",
        "outcome_type": "success",
        "outcome": {"a": "it's \\ \U0001f600"},
    }
    answered = psql("SELECT complete_dependency(:'it'::jsonb);", it=json.dumps(completion))
    assert json.loads(answered.stdout) == {"first": True, "waiter_known": True, "open_items": None}

    hand.sweeper()
    hand.resume_worker()

    told = hand.continuation()
    assert told.mode is Mode.LIVE
    asked = psql(
        "SELECT continuation_outcomes(:'id'); SELECT claim_continuation(:'id'); SELECT claim_continuation(:'id');"
        " SELECT finish_continuation(:'id'); SELECT finish_continuation(:'id');",
        id=told.continuation_id,
    )
    outcomes, *booleans = asked.stdout.splitlines()
    assert json.loads(outcomes) == {f"{run.id}/1": {"type": "success", "value": completion["outcome"]}}
    assert booleans == ["t", "f", "t", "f"]


def test_a_transaction_that_is_rolled_back_has_said_nothing(
    psql: Callable[..., subprocess.CompletedProcess[str]], hand: ByHand, a_run: Callable[[], Run]
) -> None:
    """Neither a wait nor a message is left of it."""
    run = a_run()

    psql("BEGIN; SELECT defer_checkpoint(:'wait'::jsonb); ROLLBACK;", wait=wait_of(run))

    count = psql("SELECT count(*) FROM dependency;")
    assert count.stdout.strip() == "0"
    assert hand.sweeper() == 0


def test_a_refusal_is_an_error_with_a_state_of_its_own(
    psql: Callable[..., subprocess.CompletedProcess[str]], a_run: Callable[[], Run]
) -> None:
    """Any driver shows the SQLSTATE, the problem, the code as the hint and the facts as JSON."""
    run = a_run()

    refused = psql("SELECT defer_checkpoint(:'wait'::jsonb);", wait=wait_of(run, attempt=0))

    assert refused.returncode == 3
    said = refused.stderr
    assert "ERROR:  CK001: attempt is 0; expected an integer from 1 to 2147483647." in said
    assert "HINT:  invalid-message" in said
    facts = next(line for line in said.splitlines() if line.startswith("DETAIL:"))
    assert json.loads(facts.removeprefix("DETAIL:"))["field"] == "attempt"


def test_many_in_one_call_are_answered_in_their_order(
    psql: Callable[..., subprocess.CompletedProcess[str]], a_run: Callable[[], Run]
) -> None:
    """One bad one hinders no other."""
    run = a_run()
    cancels = [
        {"v": 1, "run_id": run.id, "reason": {"type": "MANUAL"}, "wait_number": 1},
        {"v": 1, "run_id": run.id, "reason": {"type": "BOREDOM"}},
        {"v": 1, "run_id": run.id, "reason": {"type": "RUN_CANCELLED"}},
    ]

    answered = psql(
        "SELECT defer_checkpoint(:'wait'::jsonb) IS NOT NULL; SELECT cancel_checkpoint_many(:'cancels'::jsonb);",
        wait=wait_of(run),
        cancels=json.dumps(cancels),
    )

    first, second, third = json.loads(answered.stdout.splitlines()[1])
    assert first == {"called_off": True, "wait_ended": False}
    assert second["refused"]["code"] == "invalid-message"
    assert third == {"called_off": False, "wait_ended": True}

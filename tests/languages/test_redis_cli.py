"""An upstream that is a shell with `redis-cli`: what an operator types by hand."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from runs import Run

from shared.broker import Keys
from shared.settings import Settings

PROGRAM = shutil.which("redis-cli") or shutil.which("valkey-cli")
QUEUE = "continuations.sh"

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is neither `redis-cli` nor `valkey-cli` on the PATH"),
    pytest.mark.usefixtures("drains"),
]


@pytest.fixture
def redis_cli(settings: Settings) -> Callable[..., list[str]]:
    """Run a Redis command in a process of its own; returns the lines of its answer."""

    def call(*words: str) -> list[str]:
        address = settings.broker_url.get_secret_value()
        argv = [PROGRAM or "", "--no-auth-warning", "-u", address, "--raw", *words]
        done = subprocess.run(argv, env=os.environ | {"LC_ALL": "C.UTF-8"}, capture_output=True, check=True, timeout=30)
        return done.stdout.decode().splitlines()

    return call


def test_a_shell_waits_completes_and_is_done(
    redis_cli: Callable[..., list[str]], keys: Keys, a_run: Callable[[], Run]
) -> None:
    """Items in the shortest form that is read: a task, an id, a body that is JSON text."""
    run = a_run()

    def send(queue: str, task: str, **fields: Any) -> str:
        id_ = str(uuid4())
        body = json.dumps([[], {"v": 1} | fields, {}])
        redis_cli("LPUSH", keys.queue(queue), json.dumps({"headers": {"task": task, "id": id_}, "body": body}))
        return id_

    def hear() -> dict[str, Any]:
        _, item = redis_cli("BRPOP", keys.queue(QUEUE), "20")
        return json.loads(item)["headers"] | fields_of(item)

    waited = send(
        "deferrals",
        "checkpoint.defer",
        run_id=run.id,
        attempt=1,
        wait_number=1,
        reason="WAIT_FOR_TASK",
        dependency={"id": f"{run.id}/1"},
        workload=run.workload.to_json(),
        reply_to=QUEUE,
        receipt_to=QUEUE,
    )
    heard = hear()
    assert (heard["task"], heard["id"]) == ("message.taken", waited)

    send("resumes", "dependency.complete", dependency_id=f"{run.id}/1", outcome_type="success", outcome={"answer": 42})
    heard = hear()
    assert (heard["task"], heard["mode"]) == ("run.continue", "live")
    assert heard["outcomes"] == {f"{run.id}/1": {"type": "success", "value": {"answer": 42}}}

    done = send("resumes", "continuation.done", continuation_id=heard["continuation_id"], receipt_to=QUEUE)
    assert hear()["id"] == done


def fields_of(item: str) -> dict[str, Any]:
    """Return what a message says, decoded as the documentation's shell does it: base64, then JSON."""
    body = json.loads(item)["body"]
    decoded = subprocess.run(["base64", "-d"], input=body.encode(), capture_output=True, check=True)
    return json.loads(decoded.stdout)[1]

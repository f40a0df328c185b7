"""An upstream in Node.js, with nothing but a socket: the whole contract over Redis lists."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import Run
from system import environment_of

from shared.settings import Settings

PROGRAM = Path(__file__).with_name("upstream.js")
QUEUE = "continuations.js"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node` on the PATH"),
    pytest.mark.usefixtures("drains"),
]


class NodeUpstream:
    """A Node.js process that sends what it is told to, and says what it hears."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            ["node", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_of(settings),
            text=True,
            encoding="utf-8",
        )

    def send(self, queue: str, task: str, **fields: Any) -> str:
        """Send a message and return the id that Node.js gave it."""
        return self._do(send=[queue, task, {"v": 1} | fields])["id"]

    def hear(self, queue: str = QUEUE) -> dict[str, Any]:
        """Return the next message of a reply queue: its task and its fields."""
        return self._do(hear=queue)

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)

    def _do(self, **said: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(said), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def js(settings: Settings) -> Iterator[NodeUpstream]:
    """An upstream in Node.js."""
    one = NodeUpstream(settings)
    yield one
    one.close()


def a_wait(run: Run, number: int = 1, **fields: Any) -> dict[str, Any]:
    """Return the fields of a wait as JavaScript would make them."""
    usual = {
        "run_id": run.id,
        "attempt": 1,
        "wait_number": number,
        "reason": "WAIT_FOR_TASK",
        "dependency": {"id": f"{run.id}/{number}"},
        "workload": run.workload.to_json(),
        "reply_to": QUEUE,
    }
    return usual | fields


def test_it_waits_and_goes_on_with_the_outcome(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """Wait, receipt, completion, continuation, done, receipt: in any alphabet."""
    run = a_run()
    outcome = {"größe": "\U0001f600", "values": [1, -0.5, True, None]}
    waited = js.send("deferrals", "checkpoint.defer", **a_wait(run, receipt_to=QUEUE))
    assert js.hear() == {"task": "message.taken", "fields": {"v": 1, "message": "checkpoint.defer", "id": waited}}

    js.send("resumes", "dependency.complete", dependency_id=f"{run.id}/1", outcome=outcome, outcome_type="success")
    heard = js.hear()

    assert heard["task"] == "run.continue"
    told = heard["fields"]
    assert (told["run_id"], told["attempt"], told["wait_number"], told["mode"]) == (run.id, 1, 1, "live")
    assert told["outcomes"] == {f"{run.id}/1": {"type": "success", "value": outcome}}
    done = js.send("resumes", "continuation.done", continuation_id=told["continuation_id"], receipt_to=QUEUE)
    assert js.hear() == {"task": "message.taken", "fields": {"v": 1, "message": "continuation.done", "id": done}}


def test_a_completion_that_comes_first_is_found_by_its_wait(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """The child was faster than the parent's message."""
    run = a_run()
    js.send("resumes", "dependency.complete", dependency_id=f"{run.id}/1", outcome_type="failure", receipt_to=QUEUE)
    assert js.hear()["task"] == "message.taken"

    js.send("deferrals", "checkpoint.defer", **a_wait(run))

    assert js.hear()["fields"]["outcomes"] == {f"{run.id}/1": {"type": "failure", "value": None}}


def test_a_batch_grows_and_is_sealed(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """Items one by one; the last word is the seal."""
    run = a_run()
    batch = {"id": f"{run.id}/1", "items": ["a"], "sealed": False}
    js.send("deferrals", "checkpoint.defer", **a_wait(run, reason="WAIT_FOR_BATCH", dependency=batch))
    for fields in (
        {"item_id": "a", "outcome_type": "success", "outcome": 1},
        {"items_added": ["b"]},
        {"item_id": "b", "outcome_type": "crashed"},
        {"sealed": True},
    ):
        js.send("resumes", "dependency.complete", dependency_id=f"{run.id}/1", **fields)

    told = js.hear()["fields"]

    assert told["outcomes"] == {"a": {"type": "success", "value": 1}, "b": {"type": "crashed", "value": None}}


def test_a_cancelled_run_is_told_that_it_is_over(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """Its wait gets no continuation, and a later wait is refused by name."""
    run = a_run()
    js.send("deferrals", "checkpoint.defer", **a_wait(run))
    js.send("deferrals", "checkpoint.cancel", run_id=run.id, reason={"type": "RUN_CANCELLED"}, receipt_to=QUEUE)
    assert js.hear()["fields"]["message"] == "checkpoint.cancel"
    js.send("resumes", "dependency.complete", dependency_id=f"{run.id}/1", outcome_type="success", receipt_to=QUEUE)
    assert js.hear()["fields"]["message"] == "dependency.complete"

    late = js.send("deferrals", "checkpoint.defer", **a_wait(run, 2))

    refused = js.hear()
    assert refused["task"] == "run.refused"
    assert (refused["fields"]["id"], refused["fields"]["code"]) == (late, "run-over")


def test_a_mistake_is_named(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """The refusal names the field, what came and what was expected, once on each queue that the message named."""
    run = a_run()

    wrong = js.send("deferrals", "checkpoint.defer", **a_wait(run, delay_ms="30s", receipt_to="continuations.receipts"))

    for queue in (QUEUE, "continuations.receipts"):
        refused = js.hear(queue)
        assert refused["task"] == "run.refused"
        assert (refused["fields"]["id"], refused["fields"]["facts"]["field"]) == (wrong, "delay_ms")
        assert '"30s"; expected an integer from 0 to 172800000' in refused["fields"]["problem"]


def test_a_repeated_message_acts_once(js: NodeUpstream, a_run: Callable[[], Run]) -> None:
    """Each is answered, and only the first wait is registered: the same wait again is the same wait."""
    run = a_run()
    sent = [js.send("deferrals", "checkpoint.defer", **a_wait(run, receipt_to=QUEUE)) for _ in range(3)]

    assert [js.hear()["fields"]["id"] for _ in sent] == sent

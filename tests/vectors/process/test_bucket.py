"""Runs whose images lie in a bucket: every node can bring them back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import ByHand
from process_runs import CountingRun

from shared.settings import Settings
from shared.vocabulary import Mode
from tests.bucket import Bucket, an_s3_server
from workers.checkpoint.restore import Restored
from workers.checkpoint.take import Taken


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of a server of the test's own."""
    with an_s3_server(tmp_path / "s3.log", monkeypatch) as endpoint:
        yield Bucket(endpoint)


@pytest.fixture
def settings(settings: Settings, bucket: Bucket) -> Settings:
    """Settings of a node that keeps its images there."""
    return settings.model_copy(update={"image_store": bucket.url})


def test_a_run_is_frozen_into_a_bucket_and_comes_back_from_it(
    hand: ByHand, bucket: Bucket, a_counting_run: Callable[[], CountingRun]
) -> None:
    """Its image is there while it is frozen, known as one that others can fetch, and removed then."""
    run = a_counting_run()
    hand.wait_for_task(run, delay_ms=0)
    assert hand.checkpoint_worker() == [Taken.ACCEPTED]
    assert run.is_gone
    row = hand.checkpoint_row(run)
    assert row is not None
    assert row["is_portable"]
    assert {key.partition("/")[0] for key in bucket.objects()} == {row["location"].removeprefix("process:")}

    hand.complete(run)

    assert hand.checkpoint_worker() == [Restored.RESTORED]
    assert hand.continuation().mode is Mode.RESTORED
    run.went_on(hand.continuation())
    assert (bucket.objects(), bucket.half_uploads()) == ([], [])

"""What was left in the folders of work: removed once it is old and nobody needs it; every reason to keep it counted."""

import json
import os
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings
from workers.engines import processes
from workers.node.cleaner import Cleaner, Kept, clean

HOUR_MS = 3_600_000
OLD = 2 * HOUR_MS / 1000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Folders of the test's own, in which everything older than an hour is old."""
    (tmp_path / "work" / "connections").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    return Settings.model_validate(
        {
            "work_folder": tmp_path / "work",
            "clean_folders": [tmp_path / "more"],
            "clean_age_ms": HOUR_MS,
            "engine_timeout_ms": 60_000,
        }
    )


def test_what_is_old_is_removed_and_what_is_young_stays(settings: Settings) -> None:
    """In the work folder, among the notes of connections, and in folders that the settings name."""
    folders = [settings.work_folder, settings.work_folder / "connections", *settings.clean_folders]
    for folder in folders:
        a_dump(folder / "7-1", old=True)
        a_dump(folder / "8-1", old=False)

    assert clean(settings) == (3, {Kept.YOUNG: 3})

    assert [sorted(path.name for path in folder.glob("*-*")) for folder in folders] == [["8-1"]] * 3
    assert (settings.work_folder / "connections").is_dir()


def test_the_record_of_a_process_that_lives_stays(settings: Settings) -> None:
    """By it whoever comes next finds what was restored there; once the process has ended it goes."""
    claim = a_dump(settings.work_folder / "9-1", old=False)
    me = processes.read_stat(processes.PROC / "self")
    assert me is not None
    record = {"pid": os.getpid(), "started_at_ticks": me.started_at_ticks}
    (claim / "restored.json").write_text(json.dumps(record))
    make_old(claim)

    assert clean(settings) == (0, {Kept.IN_USE: 1})

    (claim / "restored.json").write_text(json.dumps(record | {"started_at_ticks": me.started_at_ticks + 1}))
    make_old(claim)
    assert clean(settings) == (1, {})
    assert not claim.exists()


def test_a_link_is_removed_and_never_followed(settings: Settings, tmp_path: Path) -> None:
    """What it points to is another's."""
    precious = a_dump(tmp_path / "precious", old=True)
    link = settings.work_folder / "10-1"
    link.symlink_to(precious)
    os.utime(link, (time.time() - OLD, time.time() - OLD), follow_symlinks=False)

    assert clean(settings) == (1, {})

    assert not link.is_symlink()
    assert (precious / "dump" / "pages-1.img").exists()


def test_what_cannot_be_removed_is_counted(settings: Settings) -> None:
    """A record that is a folder cannot be read: the entry stays, and the others are removed."""
    broken = a_dump(settings.work_folder / "11-1", old=False)
    (broken / "restored.json").mkdir()
    make_old(broken)
    a_dump(settings.work_folder / "12-1", old=True)

    assert clean(settings) == (1, {Kept.FAILED: 1})


def test_an_age_in_which_a_try_may_still_be_at_work_is_refused() -> None:
    """Else the dump of a large run would be removed while it is made."""
    with pytest.raises(ValidationError, match="CLEAN_AGE_MS is 3600000; expected at least 10 times ENGINE_TIMEOUT_MS"):
        Settings.model_validate({"clean_age_ms": HOUR_MS, "engine_timeout_ms": HOUR_MS})


def test_it_looks_once_in_a_period(settings: Settings) -> None:
    """The first time at once."""
    cleaner = Cleaner(settings)
    a_dump(settings.work_folder / "13-1", old=True)
    cleaner.clean_if_due()
    second = a_dump(settings.work_folder / "13-2", old=True)
    cleaner.clean_if_due()

    assert [path.name for path in settings.work_folder.glob("13-*")] == [second.name]


def a_dump(path: Path, *, old: bool) -> Path:
    """Leave what a dead worker would."""
    (path / "dump").mkdir(parents=True)
    (path / "dump" / "pages-1.img").write_bytes(b"pages")
    if old:
        make_old(path)
    return path


def make_old(path: Path) -> None:
    """Have it look as if nobody had touched it for two hours."""
    os.utime(path, (time.time() - OLD, time.time() - OLD))

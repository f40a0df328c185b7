"""Whatever a Procfile or a folder's name holds, Supervisor runs just that."""

import shlex
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.options import UnhosedConfigParser

from shared.errors import Misconfigured
from workers.cli.programs import quoted, quoted_path, read_procfile

WORDS = st.text(alphabet=" \t;#%'\"\\$={}()aé", min_size=1)


@given(st.lists(WORDS, min_size=1))
def test_supervisor_reads_a_command_as_it_was_meant(words: list[str]) -> None:
    """Comment signs, per cent signs, quotes and blanks survive its configuration."""
    argv = ["program", *words]

    parser = cast("Any", UnhosedConfigParser())
    parser.read_string(f"[program:one]\ncommand={quoted(argv)}\nautostart=true\n")
    read: str = parser.get("program:one", "command")

    assert shlex.split(read % {}) == argv


def test_a_procfile_names_programs_and_their_commands(tmp_path: Path) -> None:
    """One line each; blank lines and comments are passed over."""
    procfile = tmp_path / "Procfile"
    procfile.write_text("# all\n\nweb: serve --port 80\nworker:  work 'two words'\n")

    programs = read_procfile(procfile)

    assert [program.name for program in programs] == ["web", "worker"]
    assert programs[0].argv[-3:] == ["serve", "--port", "80"]
    assert programs[1].argv[-2:] == ["work", "two words"]


@pytest.mark.parametrize("line", ["no command", "web:", "we b: serve", ": serve"])
def test_a_malformed_procfile_is_refused(tmp_path: Path, line: str) -> None:
    """With the line that is wrong."""
    procfile = tmp_path / "Procfile"
    procfile.write_text(f"{line}\n")

    with pytest.raises(Misconfigured, match=line):
        read_procfile(procfile)


def test_a_missing_procfile_is_refused(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(Misconfigured, match="nowhere"):
        read_procfile(tmp_path / "nowhere")


def test_a_folder_that_supervisor_could_not_read_is_refused() -> None:
    """A name that would begin a comment in its configuration is told, not cut."""
    with pytest.raises(Misconfigured, match="choose another"):
        quoted_path(Path("/data ;here"))

"""What `pip install` brings is whole: nothing that a command reads lies beside the source only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Only what a build reads, so that nothing of it is left in the source.
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "Procfile", "shared", "workers")
READ = """\
from workers.cli import up
print(up.__file__)
for program in up.read_procfile(up.PROCFILE):
    print(f"{program.name}: {' '.join(program.argv[-3:])}")
"""


def test_up_of_an_installed_package_runs_the_lines_of_the_procfile(tmp_path: Path) -> None:
    """The file at the top is the only one; the package carries it."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source)

    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", installed, source)
    where, *programs = run("-c", READ, cwd=tmp_path, PYTHONPATH=str(installed)).splitlines()

    assert Path(where).is_relative_to(installed)
    assert programs == (ROOT / "Procfile").read_text().splitlines()


def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run this Python, which must succeed, and return its standard output."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

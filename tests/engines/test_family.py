"""Who belongs to a workload: told from all processes of the node, or, once it stands, from the kernel's own lists."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.counting import end_session, workload_of
from tests.waiting import wait_until
from workers.engines import processes
from workers.engines.processes import PROC, Process

# A tree: children of two threads, one of them with a child of its own; each tells its pid.
TREE = """
import os, subprocess, sys, threading, time

folder, depth = sys.argv[1], int(sys.argv[2])

def child(depth):
    subprocess.Popen([sys.executable, "-c", os.environ["TREE"], folder, str(depth)])

if depth:
    child(depth - 1)
    threading.Thread(target=lambda: [child(0), time.sleep(600)], daemon=True).start()
open(os.path.join(folder, str(os.getpid())), "w").close()
time.sleep(600)
"""
MEMBERS = 5


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[list[Process]]:
    """A process with descendants, all of which run."""
    argv = [sys.executable, "-c", TREE, str(tmp_path), "2"]
    first = subprocess.Popen(argv, env=os.environ | {"TREE": TREE}, start_new_session=True)
    wait_until(lambda: len(list(tmp_path.iterdir())) == MEMBERS)
    pids = sorted(int(path.name) for path in tmp_path.iterdir())
    pids.remove(first.pid)
    yield [Process(pid, workload_of(pid).started_at_ticks or 0) for pid in [first.pid, *pids]]
    end_session(first.pid)
    first.wait()


@pytest.mark.parametrize("standing", [0, 1, 2, 3, 4, MEMBERS])
def test_no_member_is_left_out_however_many_stand(tree: list[Process], standing: int) -> None:
    """Neither where all run, nor where some do, nor where all stand; parents come before children."""
    for process in tree[:standing]:
        os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: all(map(processes.is_stopped, tree[:standing])))

    found = processes.family(tree[0])

    assert found[0] == tree[0]
    assert sorted(found, key=lambda it: it.pid) == sorted(tree, key=lambda it: it.pid)
    stats = {it: processes.read_stat(PROC / str(it.pid)) for it in found}
    order = [it.pid for it in found]
    assert all(order.index(stat.parent) < order.index(it.pid) for it, stat in stats.items() if stat and it != tree[0])


def test_a_tree_that_stands_is_found_without_a_look_at_the_node(
    tree: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would take the longer, the more processes the node has; one that runs needs it."""
    if not (PROC / "self" / "task" / str(os.getpid()) / "children").exists():
        pytest.skip("this kernel keeps no lists of children (CONFIG_PROC_CHILDREN)")
    for process in tree:
        os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: all(map(processes.is_stopped, tree)))
    monkeypatch.setattr(processes, "_all_stats", dict[int, object])

    assert len(processes.family(tree[0])) == MEMBERS

    os.kill(tree[-1].pid, signal.SIGCONT)
    wait_until(lambda: not processes.is_stopped(tree[-1]))
    assert processes.family(tree[0]) == []


def test_a_process_that_is_gone_has_no_family(tree: list[Process]) -> None:
    """Nor has one whose pid belongs to another now."""
    assert processes.family(Process(tree[0].pid, tree[0].started_at_ticks + 1)) == []

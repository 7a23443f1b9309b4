"""The Ray launcher on a cluster of two nodes on this machine. Needs the extra ``cluster``."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_training import (
    fake_train,
    runs,
    train_that_fails_on_odd_seeds,
    train_that_kills_its_node_once,
    train_that_kills_its_worker_once,
)
from test_study_launch import PROJECT, command, environment, metrics, stamps, study, trained

from studies.runs import complete_runs, directory

ray = pytest.importorskip("ray", reason="needs the extra cluster: pip install firstlight[cluster]")
pytestmark = pytest.mark.slow
PATHS = [str(PROJECT), str(PROJECT / "tests")]


@contextlib.contextmanager
def two_nodes():
    """A head and a second node, one core each."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.second = cluster.add_node(**node)
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def address():
    """Of a cluster whose nodes all live."""
    with two_nodes() as cluster:
        yield cluster.address


@pytest.fixture(autouse=True)
def _nodes_find_the_tests(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*PATHS, os.environ.get("PYTHONPATH", "")]))


def launch(address, todo, root, train, on_event=lambda event: None, **options):
    from studies.ray_launcher import RayLauncher

    events = []
    with RayLauncher(address, **options) as launcher:
        for event in launcher.launch(todo, root, train):
            on_event(event)
            if event.kind != "tick":
                events.append((event.kind, event.run.seed))
    return events


def test_a_node_killed_midway_loses_no_run(tmp_path):
    todo = runs(6, sleep=0.5)
    with two_nodes() as cluster:
        (tmp_path / "victim").write_text(cluster.second.node_id)
        events = launch(cluster.address, todo, tmp_path, train_that_kills_its_node_once)
    assert [kind for kind, _ in events].count("lost") == 1
    assert len(complete_runs(tmp_path)) == 6
    assert trained(tmp_path) == {run.id: 1 for run in todo}


def test_failures_and_lost_workers_are_as_with_local_processes(address, tmp_path):
    todo = runs(3)
    events = launch(address, todo, tmp_path / "a", train_that_fails_on_odd_seeds)
    assert sorted(event for event in events if event[0] != "started") == [("done", 0), ("done", 2), ("failed", 1)]
    assert "ValueError: odd" in (directory(todo[1], tmp_path / "a") / "error.txt").read_text()
    events = launch(address, runs(2), tmp_path / "b", train_that_kills_its_worker_once)
    assert [kind for kind, _ in events].count("lost") == 2
    assert len(complete_runs(tmp_path / "b")) == 2


def test_runs_at_a_time_are_what_the_nodes_have_room_for(address, tmp_path):
    from studies.ray_launcher import RayLauncher

    def most(**options):
        at_work, peak = set(), 0

        def count(event):
            nonlocal peak
            if event.run:
                (at_work.add if event.kind == "started" else at_work.discard)(event.run.seed)
            peak = max(peak, len(at_work))

        launch(address, runs(4), tmp_path / str(options), fake_train, count, **options)
        return peak

    assert most() == 2
    assert most(jobs=1) == 1
    with RayLauncher(address, threads=2) as launcher:  # fits on no node: one at a time waits for a larger one
        assert launcher.room() == 1


PARENT = """
from pathlib import Path
from fake_training import fake_train, runs
from studies.ray_launcher import RayLauncher
with RayLauncher({address!r}) as launcher:
    for event in launcher.launch(runs(6, sleep=1.0), Path({root!r}), fake_train):
        print(event.kind, flush=True)
"""


def test_a_killed_study_ends_its_runs_and_the_next_call_does_the_rest(address, tmp_path):
    script = PARENT.format(address=address, root=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    while process.stdout.readline() != "done\n":
        assert process.poll() is None
    time.sleep(0.3)
    process.kill()
    process.communicate()
    complete = stamps(tmp_path)
    events = launch(address, runs(6, sleep=1.0), tmp_path, fake_train)
    assert complete.items() <= stamps(tmp_path).items()
    assert [kind for kind, _ in events].count("done") == 6
    assert set(trained(tmp_path).values()) == {1}


def test_the_same_file_gives_the_same_table_with_either_launcher_and_after_ctrl_c(
    address, tmp_path, children_answer_ctrl_c
):
    local, there = tmp_path / "local", tmp_path / "ray"
    assert study(local, "--jobs", "2").returncode == 0
    study(there, "--dry-run")
    words = ["width.yaml", "--launcher", "ray", "--address", address]
    process = subprocess.Popen(
        command(*words), cwd=there, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (line := process.stdout.readline()).startswith("[1/4]"):
        assert process.poll() is None, line
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Traceback" not in out
    assert f"To go on: firstlight study {' '.join(words)}" in out
    on_ray = study(there, *words[1:])
    assert on_ray.returncode == 0, on_ray.stdout + on_ray.stderr
    assert metrics(local) == metrics(there)
    assert table(local) == table(there)


def table(folder):
    """All of a study's table but how long the runs took."""
    lines = (folder / "runs/studies/width/summary.csv").read_text().splitlines()
    return [line for line in lines if ",train_seconds," not in line]

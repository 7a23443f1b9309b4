"""The Ray launcher on a cluster of two nodes on this machine. Needs the extra ``cluster``."""

import os
import time

import pytest
from fake_training import fake_train, runs, train_that_fails_on_odd_seeds, train_that_kills_its_worker_once
from test_study_launch import PROJECT, metrics, study, trained

from studies.runs import complete_runs

ray = pytest.importorskip("ray", reason="needs the extra cluster: pip install firstlight[cluster]")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster(monkeypatch):
    """A head and a second node, one core each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(PROJECT), str(PROJECT / "tests"), os.environ.get("PYTHONPATH", "")])
    )
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def launch(cluster, todo, root, train, on_event=lambda event: None):
    from studies.ray_launcher import RayLauncher

    events = []
    for event in RayLauncher(cluster.address).launch(todo, root, train):
        on_event(event)
        if event.kind != "tick":
            events.append((event.kind, event.run.seed))
    return events


def test_a_node_killed_midway_loses_no_run(cluster, tmp_path):
    todo = runs(8, sleep=1.0)
    started = time.monotonic()
    killed = []

    def kill(event):
        if not killed and time.monotonic() - started > 3 and event.kind == "done":
            cluster.remove_node(cluster.second, allow_graceful=False)
            killed.append(event)

    launch(cluster, todo, tmp_path, fake_train, kill)
    assert killed
    assert len(complete_runs(tmp_path)) == 8
    assert set(trained(tmp_path)) == {run.id for run in todo}


def test_failures_and_lost_workers_are_as_with_local_processes(cluster, tmp_path):
    events = launch(cluster, runs(3), tmp_path / "a", train_that_fails_on_odd_seeds)
    assert sorted(event for event in events if event[0] != "started") == [("done", 0), ("done", 2), ("failed", 1)]
    events = launch(cluster, runs(2), tmp_path / "b", train_that_kills_its_worker_once)
    assert [kind for kind, _ in events].count("lost") == 2
    assert len(complete_runs(tmp_path / "b")) == 2


def test_the_same_file_gives_the_same_table_with_either_launcher(cluster, tmp_path):
    local = study(tmp_path / "local", "--jobs", "2")
    on_ray = study(tmp_path / "ray", "--launcher", "ray", "--address", cluster.address)
    assert local.returncode == on_ray.returncode == 0, on_ray.stdout + on_ray.stderr
    assert metrics(tmp_path / "local") == metrics(tmp_path / "ray")

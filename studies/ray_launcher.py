"""Ray launcher: the same runs on a Ray cluster, a machine or many.

All nodes reach the project, the folder of runs and the data by the same paths, as on a shared file system that knows
locks; a run belongs to the node that holds its lock, which is free again when the node is lost.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError

from studies.execute import Backlog, Event, Outcome, Train, execute
from studies.runs import Run

POLL_SECONDS = 0.5
PROJECT = Path(__file__).parent.parent


class RayLauncher:
    """Sends each run to a Ray worker; the run of a worker or node that is lost goes to another.

    Args:
        address: of the cluster; ``auto`` is the one that this machine belongs to.
        threads: and cores of each run.
        gpu_share: of one GPU for each run, on a cluster that has any.
        jobs: runs at a time; None for as many as the cluster has room for.

    Raises:
        ConnectionError: there is no such cluster.
    """

    def __init__(self, address: str, threads: int = 1, gpu_share: float = 1.0, jobs: int | None = None):
        path = os.pathsep.join(part for part in (str(PROJECT), os.environ.get("PYTHONPATH")) if part)
        variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONPATH": path}
        variables |= {name: os.environ[name] for name in ("PATH_DATASETS",) if name in os.environ}
        ray.init(address, runtime_env={"env_vars": variables}, log_to_driver=False, logging_level=logging.ERROR)
        self.needs = {"CPU": threads} | ({"GPU": gpu_share} if "GPU" in ray.cluster_resources() else {})
        self.jobs = jobs
        remote = ray.remote(num_cpus=threads, num_gpus=self.needs.get("GPU", 0), max_retries=0)
        self.remote = remote(_execute)

    def __enter__(self) -> "RayLauncher":
        return self

    def __exit__(self, *exception: object) -> None:
        """Leave the cluster, which ends what still runs there for this process."""
        ray.shutdown()

    def room(self) -> int:
        """Runs at a time: what the cluster's living nodes have room for; the rest waits here, not in Ray."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        room = sum(min(int(node.get(name, 0) / need + 1e-9) for name, need in self.needs.items()) for node in nodes)
        return max(1, min(room, self.jobs or room))

    def launch(self, runs: list[Run], root: Path, train: Train) -> Iterator[Event]:
        """Train all runs and report as it goes; closing the generator stops them.

        Args:
            runs: what to train, in order.
            root: the folder of all runs, by the path that every node knows it by.
            train: importable on every node; see :func:`studies.execute.execute`.
        """
        backlog, at_work = Backlog(runs), {}
        try:
            while backlog or at_work:
                while len(at_work) < self.room() and (run := backlog.take()):
                    at_work[self.remote.remote(run, root, train)] = run
                    yield Event("started", run)
                for task in _ready(list(at_work)):
                    yield backlog.settle(at_work.pop(task), _outcome(task))
                yield Event("tick")
        finally:
            for task in at_work:
                with contextlib.suppress(RayError):
                    ray.cancel(task, force=True)


def _ready(tasks: list["ray.ObjectRef"]) -> list["ray.ObjectRef"]:
    """One that has ended, if any does so within ``POLL_SECONDS``."""
    if not tasks:
        time.sleep(POLL_SECONDS)
        return []
    return ray.wait(tasks, timeout=POLL_SECONDS)[0]


def _execute(run: Run, root: Path, train: Train) -> Outcome:
    """On the cluster; relative paths mean what they mean to the study, and Ray's words on the command line nothing."""
    os.chdir(root.parent)
    sys.argv = sys.argv[:1]
    return execute(run, root, train)


def _outcome(task: "ray.ObjectRef") -> Outcome:
    try:
        return ray.get(task)
    except RayTaskError as error:  # nothing of the run's own: a node without the project, or without the folder of runs
        return Outcome("failed", " ".join(str(error.cause).split()))
    except RayError as error:  # the worker or its node is gone
        return Outcome("lost", type(error).__name__)

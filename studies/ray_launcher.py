"""Ray launcher: the same runs on a Ray cluster, a machine or many, whose nodes share the folder of runs."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import ray
from ray.exceptions import RayError

from studies.execute import Backlog, Event, Outcome, Train, execute
from studies.runs import Run

POLL_SECONDS = 0.5
PROJECT = Path(__file__).parent.parent


class RayLauncher:
    """Sends each run to a Ray worker; the run of a worker or node that is lost goes to another.

    Args:
        address: of the cluster; ``auto`` is the one that this machine belongs to.
        threads: and cores of each run.
        gpu_share: of one GPU for each run; 0 for none.
        jobs: runs at a time; None for as many as the cluster has room for.

    Raises:
        ConnectionError: there is no such cluster.
    """

    def __init__(self, address: str, threads: int = 1, gpu_share: float = 0.0, jobs: int | None = None):
        path = os.pathsep.join(part for part in (str(PROJECT), os.environ.get("PYTHONPATH")) if part)
        variables = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "PYTHONPATH": path}
        ray.init(address, runtime_env={"env_vars": variables}, log_to_driver=False, logging_level=logging.ERROR)
        self.threads = threads
        self.jobs = jobs
        self.remote = ray.remote(num_cpus=threads, num_gpus=gpu_share, max_retries=0)(_execute)

    def room(self) -> int:
        """Runs at a time: what the cluster's living nodes have room for; the rest waits here, not in Ray."""
        room = int(ray.cluster_resources().get("CPU", 0) // self.threads)
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
                ready, _ = ray.wait(list(at_work), timeout=POLL_SECONDS) if at_work else ([], [])
                for task in ready:
                    yield backlog.settle(at_work.pop(task), _outcome(task))
                yield Event("tick")
        finally:
            for task in at_work:
                with contextlib.suppress(RayError):
                    ray.cancel(task, force=True)
            ray.shutdown()


def _execute(run: Run, root: Path, train: Train) -> Outcome:
    """On the cluster; Ray's own words on the command line are none of the run's."""
    sys.argv = sys.argv[:1]
    return execute(run, root, train)


def _outcome(task: "ray.ObjectRef") -> Outcome:
    try:
        return ray.get(task)
    except RayError:  # the worker or its node is gone
        return Outcome("lost")

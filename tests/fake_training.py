"""Training that takes no time, for tests of launchers; in a file of its own, as workers import it."""

import json
import os
import signal
import time
from pathlib import Path

import yaml

from studies.runs import Run, make_run

CONFIG = {"experiment": "fake", "trainer": {"max_epochs": 2}}


def fake_train(path: Path) -> None:
    """Writes what a complete run has; says in ``trained.log`` that it was at work."""
    config = yaml.safe_load((path / "config.yaml").read_text())
    run = make_run("", config, config["seed_everything"])
    time.sleep(config.get("sleep", 0))
    with (path.parent.parent / "trained.log").open("a") as file:
        file.write(f"{run.id}\n")
    result = {"config_hash": run.config_hash, "seed": run.seed, "finished": "2026", "metrics": {}, "train_seconds": 1}
    partial = path / "result.partial"
    partial.write_text(json.dumps(result))
    partial.rename(path / "result.json")


def train_that_fails_on_odd_seeds(path: Path) -> None:
    print("loud")
    if yaml.safe_load((path / "config.yaml").read_text())["seed_everything"] % 2:
        raise ValueError("odd")
    fake_train(path)


def train_that_kills_its_worker(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_that_kills_its_worker_once(path: Path) -> None:
    mark = path.parent / f"{path.name}.mark"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    fake_train(path)


def train_that_kills_its_node_once(path: Path) -> None:
    """If that is the Ray node named in ``victim``: the worker, and the node's own process, which is its parent."""
    import ray

    if ray.get_runtime_context().get_node_id() == (path.parent.parent / "victim").read_text():
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    fake_train(path)


def runs(n: int, **config) -> list[Run]:
    return [make_run("v", CONFIG | config, seed) for seed in range(n)]

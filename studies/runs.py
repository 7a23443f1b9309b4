"""The runs of a study: what identifies one, where it lies, who may train it, whether it is complete."""

import contextlib
import csv
import fcntl
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studies.identity import config_hash


@dataclass(frozen=True)
class Run:
    """One resolved config with one seed; equal in ``id`` is equal in result."""

    variant: str
    seed: int
    config_hash: str
    config: dict[str, Any]

    @property
    def id(self) -> str:
        """The name of its directory."""
        return f"{self.config_hash}-seed{self.seed}"


def make_run(variant: str, config: dict[str, Any], seed: int) -> Run:
    """A resolved config, with the seed put in."""
    return Run(variant, seed, config_hash(config), config | {"seed_everything": seed})


def read_result(path: Path) -> dict[str, Any] | None:
    """The ``result.json`` of a run's directory; None while there is none, or none that a run of this project wrote."""
    try:
        result = json.loads((path / "result.json").read_text())
        return result if {"config_hash", "seed", "finished"} <= result.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def read_history(path: Path, metric: str) -> dict[int, float]:
    """A metric after each epoch, counted from 1, from the ``history.csv`` of a run's directory."""
    if not (path / "history.csv").exists():
        return {}
    with (path / "history.csv").open(newline="") as file:
        return {int(row["epoch"]) + 1: float(row[metric]) for row in csv.DictReader(file) if row.get(metric)}


def complete_runs(root: Path) -> dict[str, Path]:
    """The directory of every complete run below ``root`` by identity; of equal ones the last finished.

    A run that somebody started by hand on several devices saw larger batches than a study's run of that config.
    """
    found: dict[str, tuple[str, Path]] = {}
    for path in root.rglob("result.json"):
        if result := read_result(path.parent):
            key = f"{result['config_hash']}-seed{result['seed']}"
            if result.get("num_processes", 1) > 1 and path.parent.name != key:
                continue
            found[key] = max(found.get(key, ("", path.parent)), (result["finished"], path.parent))
    return {key: path for key, (_, path) in found.items()}


def directory(run: Run, root: Path) -> Path:
    """Where a study keeps the run: where another experiment's name has already put it, or under its own."""
    return next(iter(sorted(root.glob(f"*/{run.id}"))), root / run.config["experiment"] / run.id)


@contextlib.contextmanager
def claim(run: Run, root: Path) -> Iterator[bool]:
    """Whether this process alone may touch the run, until the end of the block.

    The kernel frees the lock when the process dies, however it dies. The file stays: removing it would let two
    processes lock two files of one name.
    """
    path = root / ".locks" / f"{run.id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def prepare(run: Run, path: Path) -> None:
    """Put the run's config into its directory, unless what is there fits and can be continued."""
    if _holds(path, run) and (path / "checkpoints" / "last.ckpt").exists():
        (path / "result.json").unlink(missing_ok=True)  # it is there only if it cannot be read
        return
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    partial = path / "config.partial"
    partial.write_text(yaml.safe_dump(run.config, sort_keys=False))
    partial.replace(path / "config.yaml")


def _holds(path: Path, run: Run) -> bool:
    try:
        config = yaml.safe_load((path / "config.yaml").read_text())
        return make_run("", config, config["seed_everything"]).id == run.id
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):  # torn, or none of ours
        return False


def forget(runs: list[Run], root: Path) -> Run | None:
    """Remove what studies have of these runs; if another process is training one, remove nothing and return it."""
    for remove in (False, True):
        for run in runs:
            with claim(run, root) as mine:
                if not mine:
                    return run
                for path in root.glob(f"*/{run.id}") if remove else ():
                    (path / "result.json").unlink(missing_ok=True)  # first: half a run must not look complete
                    shutil.rmtree(path)
    return None

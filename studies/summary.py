"""Finished runs, gathered by experiment: mean, 95 % Student interval and n."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """Mean of n values and the half-width of its 95 % Student interval; NaN for a single value."""

    mean: float
    half_width: float
    n: int

    def __str__(self) -> str:
        if math.isnan(self.half_width):
            return f"{self.mean:.2%}"
        return f"{self.mean:.2%} ± {100 * self.half_width:.2f}"


def student_interval(values: Iterable[float]) -> Interval:
    """mean ± t(0.975, n - 1) s / sqrt(n)."""
    x = np.asarray(list(values), dtype=float)
    half_width = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return Interval(float(x.mean()), float(half_width), len(x))


@dataclass(frozen=True)
class Experiment:
    """All runs of one config: one a seed, the last finished where a seed was run twice."""

    name: str
    config_hash: str
    results: tuple[dict[str, Any], ...]

    def metric(self, name: str) -> Interval:
        """A metric over the seeds."""
        return student_interval(result["metrics"][name] for result in self.results)

    @property
    def train_seconds(self) -> float:
        """Median over the seeds."""
        return float(np.median([result["train_seconds"] for result in self.results]))

    @property
    def num_parameters(self) -> int:
        """Of the network, the same for every seed."""
        return self.results[0]["num_parameters"]

    @property
    def devices(self) -> str:
        """Where it ran."""
        return "; ".join(sorted({result["device"] for result in self.results}))


def read_results(roots: Iterable[Path]) -> list[dict[str, Any]]:
    """Every ``result.json`` at or below the given folders; an unfinished run has none."""
    paths = sorted(path for root in roots for path in Path(root).rglob("result.json"))
    return [json.loads(path.read_text()) | {"path": str(path.parent)} for path in paths]


def gather(results: Iterable[dict[str, Any]]) -> list[Experiment]:
    """Group results by experiment and config, in the experiments' alphabetical order."""
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in sorted(results, key=lambda result: result["finished"]):
        groups[result["experiment"], result["config_hash"]][result["seed"]] = result
    return [
        Experiment(name, config_hash, tuple(by_seed[seed] for seed in sorted(by_seed)))
        for (name, config_hash), by_seed in sorted(groups.items())
    ]


HEADER = ("experiment", "config", "test accuracy", "n", "parameters", "seconds")


def table_rows(experiments: Iterable[Experiment]) -> list[tuple[str, ...]]:
    """The cells under :data:`HEADER`."""
    return [
        (
            experiment.name,
            experiment.config_hash,
            str(accuracy := experiment.metric("test/acc")),
            str(accuracy.n),
            f"{experiment.num_parameters:,}",
            f"{experiment.train_seconds:.1f}",
        )
        for experiment in experiments
    ]


def as_markdown(experiments: list[Experiment]) -> str:
    """The table, with what its numbers mean and where they were measured."""
    lines = ["| " + " | ".join(HEADER) + " |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    lines += ["| " + " | ".join(row) + " |" for row in table_rows(experiments)]
    devices = "; ".join(sorted({experiment.devices for experiment in experiments}))
    note = (
        "Test accuracy of the checkpoint that was best on validation: mean and 95 % Student interval over n seeds. "
        f"Seconds: median wall time of training and validation on {devices}."
    )
    return "\n".join([*lines, "", note])

"""Finished runs, gathered by experiment: mean, 95 % Student interval, n, and paired comparisons."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from studies.gradients import decades_lost, read_flow
from studies.runs import read_result


@dataclass(frozen=True)
class Interval:
    """Mean of n values and the half-width of its 95 % Student interval; NaN for a single value."""

    mean: float
    half_width: float
    n: int


def student_interval(values: Iterable[float]) -> Interval:
    """mean ± t(0.975, n - 1) s / sqrt(n)."""
    x = np.asarray(list(values), dtype=float)
    half_width = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return Interval(float(x.mean()), float(half_width), len(x))


@dataclass(frozen=True)
class Experiment:
    """All runs of one config on as many processes: one a seed, the last finished where a seed was run twice."""

    name: str
    config_hash: str
    results: tuple[dict[str, Any], ...]

    def by_seed(self, name: str) -> dict[int, float]:
        """A metric, or a number such as ``train_seconds``, of each seed whose result has it.

        ``gap/acc`` is ``train/acc``, or ``train/eval_acc`` where that was measured, minus ``test/acc``;
        ``gradient/decades`` is :func:`studies.gradients.decades_lost`; ``best_epoch`` counts from 1, as figures do.
        """
        if name == "gradient/decades":
            flows = {result["seed"]: read_flow(Path(result["path"])) for result in self.results}
            return {seed: decades_lost(flow) for seed, flow in flows.items() if flow is not None}
        split, _, short = name.partition("/")
        if split == "gap":
            train = self.by_seed(f"train/eval_{short}") or self.by_seed(f"train/{short}")
            test = self.by_seed(f"test/{short}")
            return {seed: train[seed] - test[seed] for seed in sorted(train.keys() & test.keys())}
        values = {result["seed"]: result["metrics"].get(name, result.get(name)) for result in self.results}
        first = 1 if name == "best_epoch" else 0
        return {seed: first + value for seed, value in values.items() if value is not None}

    def metric(self, name: str) -> Interval:
        """A metric over the seeds."""
        return student_interval(self.by_seed(name).values())

    @property
    def train_seconds(self) -> float:
        """Median over the seeds."""
        return float(np.median([result["train_seconds"] for result in self.results]))

    @property
    def num_processes(self) -> int:
        """Each with a batch of its own, so runs on more of them are another experiment."""
        return self.results[0].get("num_processes", 1)

    @property
    def config_name(self) -> str:
        """Tells experiments of one name apart."""
        return self.config_hash + (f" on {self.num_processes} processes" if self.num_processes > 1 else "")

    @property
    def num_parameters(self) -> int:
        """Of the network, the same for every seed."""
        return self.results[0]["num_parameters"]


def read_results(roots: Iterable[Path]) -> list[dict[str, Any]]:
    """Every ``result.json`` at or below the given folders that can be read; an unfinished run has none."""
    folders = sorted(path.parent for root in roots for path in Path(root).rglob("result.json"))
    return [result | {"path": str(folder)} for folder in folders if (result := read_result(folder))]


def gather(results: Iterable[dict[str, Any]]) -> list[Experiment]:
    """Group results by experiment, config and number of processes, in the experiments' alphabetical order."""
    groups: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in sorted(results, key=lambda result: result["finished"]):
        key = result["experiment"], result["config_hash"], result.get("num_processes", 1)
        groups[key][result["seed"]] = result
    return [
        Experiment(name, config_hash, tuple(by_seed[seed] for seed in sorted(by_seed)))
        for (name, config_hash, _), by_seed in sorted(groups.items())
    ]


def is_accuracy(metric: str) -> bool:
    """Also of accuracies in evaluation mode, and of gaps between them: shown in percent."""
    return metric.endswith("acc")


def higher_is_better(metric: str) -> bool:
    """Of accuracies; of losses, gaps, seconds and parameters less is better."""
    return is_accuracy(metric) and not is_gap(metric)


def is_gap(metric: str) -> bool:
    """Of differences between training and test, which are shown in points."""
    return metric.startswith("gap/")


def piles_up(metric: str, values: list[float]) -> bool:
    """Whether accuracies pile up at 100 %, so that Student's interval reaches beyond it or has no width."""
    interval = student_interval(values)
    many = 2 * values.count(1.0) >= interval.n
    return interval.n > 1 and higher_is_better(metric) and (many or interval.mean + interval.half_width > 1)


@dataclass(frozen=True)
class Comparison:
    """Variant minus baseline on the same seeds.

    Attributes:
        difference: mean of the seeds' differences, with its interval.
        p: of the two-sided paired t-test; NaN below two common seeds.
        p_holm: the same after Holm's correction for all comparisons made on this metric.
    """

    variant: str
    baseline: str
    metric: str
    difference: Interval
    p: float
    p_holm: float = math.nan


def compare(variant: Experiment, baseline: Experiment, metric: str) -> Comparison | None:
    """Paired by seed; None without a common seed."""
    ours, theirs = variant.by_seed(metric), baseline.by_seed(metric)
    differences = np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])
    if not len(differences):
        return None
    return Comparison(variant.name, baseline.name, metric, student_interval(differences), paired_p(differences))


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p of t = mean / (s / sqrt(n)) with n - 1 degrees of freedom; differences (n,).

    NaN where there is no test: of one difference, of differences that are all the same and not zero, of NaN.
    """
    n = len(differences)
    if n < 2:
        return math.nan
    if np.ptp(differences) == 0:  # t is 0/0, or infinite: of two seeds that get one sample more right, no evidence
        return 1.0 if differences[0] == 0 else math.nan
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction (1979): the k-th smallest of m, times m - k + 1, never falling, at most 1.

    NaN stays NaN and is not counted.
    """
    corrected = list(p_values)
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    highest = 0.0
    for k, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(order) - k)))
        corrected[i] = highest
    return corrected


def comparisons(arms: Iterable[Experiment], baselines: dict[str, str], metric: str) -> dict[str, Comparison]:
    """Of each variant that has a baseline, both among the arms, by its name."""
    by_name = {arm.name: arm for arm in arms}
    pairs = [pair for pair in baselines.items() if by_name.keys() >= set(pair)]
    found = [compare(by_name[name], by_name[baseline], metric) for name, baseline in pairs]
    found = [comparison for comparison in found if comparison]
    corrected = holm([comparison.p for comparison in found])
    return {c.variant: replace(c, p_holm=p) for c, p in zip(found, corrected, strict=True)}


def selected(arms: Iterable[Experiment], metric: str) -> str | None:
    """The variant whose mean of a validation metric is best; None before there are results."""
    means = {arm.name: arm.metric(metric).mean for arm in arms if arm.by_seed(metric)}
    return best_of(means, metric) if means else None


def best_of(values: dict[Any, float], metric: str, worst: bool = False) -> Any:
    """The key of the best value, or of the worst; NaN is worse than any number."""
    sign = 1 if higher_is_better(metric) else -1
    goodness = {key: -math.inf if math.isnan(value) else sign * value for key, value in values.items()}
    return (min if worst else max)(goodness, key=goodness.__getitem__)

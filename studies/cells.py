"""Each variant's metrics in full, from which tables, sentences and files are made."""

import math
from dataclasses import dataclass

from studies.record import Findings
from studies.spec import ALWAYS_SHOWN
from studies.summary import Comparison, Experiment, best_of, comparisons, student_interval
from studies.wording import NOTHING, show_values


@dataclass(frozen=True)
class Cell:
    """One variant's metric in full: what CSV and JSON hold, and tables and sentences are made of.

    ``values`` are by seed; differences are variant minus baseline on the same seeds; ``published`` is the most
    demanding published number of this metric. None where there is nothing.
    """

    variant: str
    metric: str
    n: int
    mean: float
    half_width: float | None
    best_seed: int
    best: float
    worst_seed: int
    worst: float
    baseline: str | None
    difference: float | None
    difference_half_width: float | None
    p: float | None
    p_holm: float | None
    published: float | None
    values: dict[int, float]


def shown_metrics(findings: Findings) -> list[str]:
    """The study's metrics, with the parameters and seconds that a reader needs beside them."""
    return list(dict.fromkeys([*findings.record["metrics"], *ALWAYS_SHOWN]))


def measured_metrics(findings: Findings) -> list[str]:
    """Those, and what else is published."""
    published = [claim["metric"] for claims in findings.record["published"].values() for claim in claims]
    return list(dict.fromkeys([*shown_metrics(findings), *published]))


def main_metric(findings: Findings) -> str:
    """What the answer is about: the study's first metric; where it selects on validation, its first of the test set."""
    metrics = findings.record["metrics"]
    tested = [metric for metric in metrics if metric.startswith("test/")]
    return tested[0] if findings.record["select"] and tested else metrics[0]


def equal_parameters(findings: Findings) -> int | None:
    """The number of parameters of every variant, if it is one; then it needs no column."""
    numbers = {arm.num_parameters for arm in findings.arms if arm.results}
    return numbers.pop() if len(numbers) == 1 else None


def cells(findings: Findings) -> list[Cell]:
    """Each variant's metrics, in the study's order.

    Where the study selects on validation, only the chosen variants have test metrics: the others' were never used.
    """
    chosen = findings.chosen
    baselines = {chosen.get(a, a): chosen.get(b, b) for a, b in findings.record["baselines"].items()}
    found = []
    for metric in measured_metrics(findings):
        arms = findings.arms_with(metric)
        compared = comparisons(arms, baselines, metric) if "/" in metric else {}
        found += [_cell(findings, arm, metric, compared.get(arm.name)) for arm in arms]
    return found


def _cell(findings: Findings, arm: Experiment, metric: str, comparison: Comparison | None) -> Cell:
    values = arm.by_seed(metric)
    interval = student_interval(values.values())
    best_seed, worst_seed = best_of(values, metric), best_of(values, metric, worst=True)
    return Cell(
        variant=arm.name, metric=metric, n=interval.n, mean=interval.mean, half_width=_number(interval.half_width),
        best_seed=best_seed, best=values[best_seed], worst_seed=worst_seed, worst=values[worst_seed],
        baseline=comparison and comparison.baseline,
        difference=comparison and comparison.difference.mean,
        difference_half_width=comparison and _number(comparison.difference.half_width),
        p=comparison and _number(comparison.p),
        p_holm=comparison and _number(comparison.p_holm),
        published=findings.published(arm.name, metric),
        values=values,
    )  # fmt: skip


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def show_cell(cell: Cell | None) -> str:
    """See :func:`show_values`."""
    return show_values(cell.metric, cell.values.values()) if cell else NOTHING

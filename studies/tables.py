"""A study's findings as rows, CSV, JSON, Markdown and one sentence."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from studies.published import Claim
from studies.record import Findings
from studies.spec import ALWAYS_SHOWN
from studies.summary import Experiment, comparisons, higher_is_better, is_accuracy, student_interval

NAMES = {
    "train_seconds": "seconds", "num_parameters": "parameters", "best_epoch": "best epoch",
    "gradient/decades": "decades of gradient lost",
}  # fmt: skip
NOTHING = "-"
SPLITS = {"train": "training", "val": "validation", "test": "test", "gap": "training minus test"}


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


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


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


def cells(findings: Findings) -> list[Cell]:
    """Each variant's metrics, in the study's order.

    Where the study selects on validation, only the chosen variants have test metrics: the others' were never used.
    """
    chosen = findings.chosen
    baselines = {chosen.get(a, a): chosen.get(b, b) for a, b in findings.record["baselines"].items()}
    found = []
    for metric in measured_metrics(findings):
        arms = findings.reported if metric.startswith(("test/", "gap/")) else findings.arms
        arms = [arm for arm in arms if arm.by_seed(metric)]
        compared = comparisons(arms, baselines, metric) if "/" in metric else {}
        found += [_cell(findings, arm, metric, compared.get(arm.name)) for arm in arms]
    return found


def _cell(findings: Findings, arm: Experiment, metric: str, comparison: Any) -> Cell:
    values = arm.by_seed(metric)
    interval = student_interval(values.values())
    best, worst = (max, min) if higher_is_better(metric) else (min, max)
    best_seed, worst_seed = best(values, key=values.get), worst(values, key=values.get)
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


def metric_name(metric: str) -> str:
    """``test/acc`` is test accuracy."""
    if metric in NAMES or "/" not in metric:
        return NAMES.get(metric, metric)
    split, name = metric.split("/", 1)
    short = name.removeprefix("eval_")
    mode = "" if short == name else " in evaluation mode"
    return f"{SPLITS[split]} {'accuracy' if short == 'acc' else short}{mode}"


def show(metric: str, mean: float, half_width: float | None = None, signed: bool = False) -> str:
    """A number in the metric's unit: accuracies in percent, differences of them in points."""
    sign = "+" if signed else ""
    if is_accuracy(metric):
        text = f"{_rounded(100 * mean, 2):{sign}.2f}" + ("" if signed or metric.startswith("gap/") else "%")
        return text if half_width is None else f"{text} ± {100 * half_width:.2f}"
    if metric in ("num_parameters", "steps", "epochs"):
        return f"{mean:{sign},.0f}"
    digits = {"train_seconds": 1, "best_epoch": 1, "gradient/decades": 2}.get(metric, 4)
    text = f"{_rounded(mean, digits):{sign}.{digits}f}"
    return text if half_width is None else f"{text} ± {half_width:.{digits}f}"


def _rounded(number: float, digits: int) -> float:
    """Without a negative zero."""
    return round(number, digits) + 0.0


def show_values(metric: str, values: Iterable[float]) -> str:
    """Mean and 95 % Student interval over seeds.

    Student's interval takes the values for normal. Accuracies that pile up at 100 % are not, so there the interval
    would reach beyond 100 %, or have no width: in its place stands how many seeds reach 100 %, if half of them or more
    do, else the lowest and the highest.
    """
    values = list(values)
    interval = student_interval(values)
    perfect = values.count(1.0)
    if interval.n > 1 and higher_is_better(metric):
        if 2 * perfect >= interval.n:
            return f"{show(metric, interval.mean)} ({perfect} of {interval.n} at 100%)"
        if interval.mean + interval.half_width > 1:
            return f"{show(metric, interval.mean)} ({show(metric, min(values))[:-1]} to {show(metric, max(values))})"
    return show(metric, interval.mean, _number(interval.half_width))


def show_cell(cell: Cell | None) -> str:
    """See :func:`show_values`."""
    return show_values(cell.metric, cell.values.values()) if cell else NOTHING


def show_claims(claims: Iterable[Claim]) -> str:
    """Published numbers of one metric, or the report's words."""
    texts = [claim.value if isinstance(claim.value, str) else show(claim.metric, claim.value) for claim in claims]
    return " / ".join(dict.fromkeys(texts)) or NOTHING


def p_text(p: float | None) -> str:
    """A p-value as papers print it."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """As a sentence has it."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def brief_table(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """The columns of :func:`table` that a terminal has room for."""
    header, rows = table(findings)
    wide = {metric_name("num_parameters"), metric_name("train_seconds"), "best seed", "worst seed"}
    wide -= {metric_name(metric) for metric in findings.record["metrics"]}
    kept = [i for i, name in enumerate(header) if name not in wide]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def table(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row a variant, or a chosen variant where the study selects."""
    found = {(cell.variant, cell.metric): cell for cell in cells(findings)}
    metrics, main = findings.record["metrics"], main_metric(findings)
    with_baseline = bool(findings.record["baselines"])
    arms = findings.reported
    published = [metric for metric in shown_metrics(findings) if any(findings.claims(arm.name, metric) for arm in arms)]
    extra = [metric for metric in ALWAYS_SHOWN if metric not in metrics]
    header = ["variant", "n", *map(metric_name, metrics)]
    header += ["difference", "p (Holm)"] * with_baseline
    header += ["published" if published == ["test/acc"] else f"published {metric_name(m)}" for m in published]
    header += [*map(metric_name, extra), "best seed", "worst seed"]
    rows = []
    for arm in arms:
        cell = found.get((arm.name, main))
        row = [arm.name, str(len(arm.results))]
        row += [show_cell(found.get((arm.name, metric))) for metric in metrics]
        if with_baseline:
            row += _comparison_cells(cell, main)
        row += [show_claims(findings.claims(arm.name, metric)) for metric in published]
        row += [show(m, found[arm.name, m].mean) if (arm.name, m) in found else NOTHING for m in extra]
        row += [f"{show(main, value)} (seed {seed})" for value, seed in _extremes(cell)] if cell else [NOTHING] * 2
        if arm.name in findings.not_run:
            row[2] = "not run"
        rows.append(row)
    return header, rows


def trials(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Of a study that selects: every variant on validation, and which were chosen."""
    metric, chosen = findings.record["select"], findings.chosen.values()
    header = ["variant", "n", metric_name(metric), "chosen"]
    return header, [
        [arm.name, str(len(arm.results)), _shown(arm, metric), "chosen" if arm.name in chosen else ""]
        for arm in findings.arms
    ]


def _shown(arm: Experiment, metric: str) -> str:
    values = arm.by_seed(metric).values()
    return show_values(metric, values) if values else NOTHING


def _extremes(cell: Cell) -> list[tuple[float, int]]:
    return [(cell.best, cell.best_seed), (cell.worst, cell.worst_seed)]


def _comparison_cells(cell: Cell | None, metric: str) -> list[str]:
    if cell is None or cell.difference is None:
        return [NOTHING, NOTHING]
    return [show(metric, cell.difference, cell.difference_half_width, signed=True), p_text(cell.p_holm)]


def answer(findings: Findings) -> str:
    """What was found, in a sentence or two with the numbers; a difference is claimed only by the paired test."""
    select, metric = findings.record["select"], main_metric(findings)
    found = [cell for cell in cells(findings) if cell.metric == metric]
    if not found:
        return "No run is complete yet."
    compared = any(cell.baseline for cell in found)
    sentences = " ".join(_versus(found, metric)) if compared else _ranking(found, metric)
    return f"Chosen on {metric_name(select)}: {sentences}" if select else sentences


def _ranking(found: list[Cell], metric: str) -> str:
    best = (max if higher_is_better(metric) else min)(found, key=lambda cell: cell.mean)
    name = metric_name(metric)
    if len(found) == 1:
        return f"{best.variant}: {name} {show_cell(best)}{_seeds(best)}."
    rest = sorted((cell for cell in found if cell is not best), key=lambda cell: cell.mean)
    others = "; ".join(f"{cell.variant} {show_cell(cell)}" for cell in rest)
    if len(rest) > 4:
        low, high = (f"{show(metric, cell.mean)} ({cell.variant})" for cell in (rest[0], rest[-1]))
        others = f"the other {len(rest)} lie between {low} and {high}"
    if best.mean == rest[-1 if higher_is_better(metric) else 0].mean:
        return f"No variant has a better mean {name} than {best.variant}, {show_cell(best)}{_seeds(best)}; {others}."
    return f"{best.variant} has the best mean {name}, {show_cell(best)}{_seeds(best)}; {others}."


def _seeds(cell: Cell) -> str:
    """n, where the number does not say it."""
    return "" if " of " in show_cell(cell) else f" (n = {cell.n})"


def _versus(found: list[Cell], metric: str) -> Iterable[str]:
    """A sentence for each baseline, then its variants: told apart, or not."""
    by_name = {cell.variant: cell for cell in found}
    for baseline in dict.fromkeys(cell.baseline for cell in found if cell.baseline):
        base = by_name[baseline]
        parts = [_against(base, cell) for cell in found if cell.baseline == baseline]
        yield f"{baseline}: {metric_name(metric)} {show_cell(base)}{_seeds(base)}; {'; '.join(parts)}."


def _against(base: Cell, cell: Cell) -> str:
    unit = " points" if is_accuracy(cell.metric) else ""
    if cell.p_holm is None:
        return f"{cell.variant} {show(cell.metric, cell.mean)} (one seed: no test)"
    if all(base.values.get(seed, value) == value for seed, value in cell.values.items()):
        return f"{cell.variant} equals it on every seed"
    if cell.p_holm < 0.05:
        size = show(cell.metric, abs(cell.difference), cell.difference_half_width).replace("%", "")
        where = "above" if cell.difference > 0 else "below"
        return f"{cell.variant} is {size}{unit} {where} it ({p_equals(cell.p_holm)})"
    difference = show(cell.metric, cell.difference, cell.difference_half_width, signed=True)
    return f"{cell.variant} is not told apart from it ({difference}{unit}, {p_equals(cell.p_holm)})"


def protocol(findings: Findings) -> list[str]:
    """How the numbers came about: budgets, seeds, statistics, machine, versions."""
    results = [result for arm in findings.arms for result in arm.results]
    lines = [_budget(findings)] if results else []
    lines.append(f"Seeds: {', '.join(map(str, findings.record['seeds']))}.")
    lines.append(
        "Every number is of the checkpoint that was best on validation; the test set chose nothing. "
        "mean ± half-width of the 95 % Student interval over n seeds; where that would reach beyond 100 %, the lowest "
        "and the highest seed, or how many reach 100 %. Seconds are means of wall time of training and validation."
    )
    if findings.record["baselines"]:
        lines.append(
            "Differences to the baseline: on the same seeds, two-sided paired t-test, Holm's correction over all "
            f"comparisons on one metric. They and p are of {metric_name(main_metric(findings))}."
        )
    lines += _selection(findings)
    lines += [f"Not run: {name}: {reason}" for name, reason in findings.not_run.items()]
    lines += _published(findings)
    if results:
        versions = sorted({", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in results})
        lines += [f"Machine: {machine(findings)}.", f"Versions: {'; '.join(versions)}."]
    return lines


def machine(findings: Findings) -> str:
    """Where the runs ran."""
    results = [result for arm in findings.arms for result in arm.results]
    return "; ".join(sorted({f"{r['device']}, {r['num_threads']} thread(s) a run" for r in results}))


def _selection(findings: Findings) -> list[str]:
    """How many trials each group had."""
    if not findings.record["select"]:
        return []
    trials = Counter(findings.record["groups"].values())
    metric = metric_name(findings.record["select"])
    if len(trials) == 1:
        return [f"One of {len(findings.arms)} trials was chosen on {metric}; only its test results are reported."]
    counts = f"{next(iter(trials.values()))} trials each for {', '.join(trials)}"
    if len(set(trials.values())) > 1:
        counts = f"unequal numbers of trials: {', '.join(f'{name} {count}' for name, count in trials.items())}"
    return [f"One trial of each was chosen on {metric}; only their test results are reported; {counts}."]


def _published(findings: Findings) -> list[str]:
    """Where the published numbers come from and how they were measured, as far as that is said."""
    sources: dict[str, list[str]] = {}
    for name, claims in findings.record["published"].items():
        for claim in (Claim(**claim) for claim in claims):
            place = "; ".join(part for part in (f"{claim.title}, one seed", _words(claim.protocol), claim.note) if part)
            sources.setdefault(place, []).append(f"{name} {metric_name(claim.metric)} {show_claims([claim])}")
    return [f"Published ({source}): {', '.join(texts)}." for source, texts in sources.items()]


def _words(protocol: dict[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (protocol or {}).items())


def _budget(findings: Findings) -> str:
    budgets = {
        arm.name: sorted({(result["epochs"], result["steps"]) for result in arm.results})
        for arm in findings.arms
        if arm.results
    }
    names: dict[str, list[str]] = {}
    for name, pairs in budgets.items():
        names.setdefault(" or ".join(f"{e} epochs, {s:,} steps" for e, s in pairs), []).append(name)
    if len(names) == 1:
        return f"Equal budgets: every variant trained for {next(iter(names))}."
    return "Budgets differ. " + " ".join(f"{budget}: {'; '.join(group)}." for budget, group in names.items())

"""A study's findings as rows, CSV, JSON, Markdown and one sentence."""

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studies.record import Findings
from studies.summary import Experiment, comparisons, higher_is_better, selected, student_interval

NAMES = {"train_seconds": "seconds", "num_parameters": "parameters", "best_epoch": "best epoch"}
NOTHING = "-"
SPLITS = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Cell:
    """One variant's metric in full: what CSV and JSON hold, and tables and sentences are made of.

    ``values`` are by seed; differences are variant minus baseline on the same seeds; ``published`` is the number
    that stands beside this metric. None where there is nothing.
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
    return list(dict.fromkeys([*findings.record["metrics"], "num_parameters", "train_seconds"]))


def cells(findings: Findings) -> list[Cell]:
    """Each variant's metrics, in the study's order.

    Where the study selects on validation, only the chosen variant has test metrics: the others' were never used.
    """
    select = findings.record["select"]
    chosen = selected(findings.arms, select) if select else None
    found = []
    for metric in shown_metrics(findings):
        compared = comparisons(findings.arms, findings.record["baselines"], metric) if "/" in metric else {}
        hidden = select and metric.startswith("test/")
        arms = [arm for arm in findings.arms if arm.by_seed(metric) and not (hidden and arm.name != chosen)]
        found += [_cell(findings, arm, metric, None if hidden else compared.get(arm.name)) for arm in arms]
    return found


def _cell(findings: Findings, arm: Experiment, metric: str, comparison: Any) -> Cell:
    values = arm.by_seed(metric)
    interval = student_interval(values.values())
    best, worst = (max, min) if higher_is_better(metric) else (min, max)
    best_seed, worst_seed = best(values, key=values.get), worst(values, key=values.get)
    published = findings.record["published"].get(arm.name, {}).get("value") if metric == "test/acc" else None
    return Cell(
        variant=arm.name, metric=metric, n=interval.n, mean=interval.mean, half_width=_number(interval.half_width),
        best_seed=best_seed, best=values[best_seed], worst_seed=worst_seed, worst=values[worst_seed],
        baseline=comparison and comparison.baseline,
        difference=comparison and comparison.difference.mean,
        difference_half_width=comparison and _number(comparison.difference.half_width),
        p=comparison and _number(comparison.p),
        p_holm=comparison and _number(comparison.p_holm),
        published=published,
        values=values,
    )  # fmt: skip


def metric_name(metric: str) -> str:
    """``test/acc`` is test accuracy."""
    if "/" not in metric:
        return NAMES.get(metric, metric)
    split, name = metric.split("/", 1)
    return f"{SPLITS[split]} {'accuracy' if name == 'acc' else name}"


def show(metric: str, mean: float, half_width: float | None = None, signed: bool = False) -> str:
    """A number in the metric's unit: accuracies in percent, differences of them in points."""
    sign = "+" if signed else ""
    if metric.endswith("/acc"):
        text, width = f"{100 * mean:{sign}.2f}" + ("" if signed else "%"), 100
        return text if half_width is None else f"{text} ± {width * half_width:.2f}"
    if metric in ("num_parameters", "steps", "epochs"):
        return f"{mean:{sign},.0f}"
    digits = ".1f" if metric in ("train_seconds", "best_epoch") else ".4f"
    return f"{mean:{sign}{digits}}" + ("" if half_width is None else f" ± {half_width:{digits}}")


def p_text(p: float | None) -> str:
    """A p-value as papers print it."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def brief_table(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """The columns of :func:`table` that a terminal has room for."""
    header, rows = table(findings)
    wide = {metric_name("num_parameters"), metric_name("train_seconds"), "best seed", "worst seed"}
    wide -= {metric_name(metric) for metric in findings.record["metrics"]}
    kept = [i for i, name in enumerate(header) if name not in wide]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def table(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row a variant."""
    found = {(cell.variant, cell.metric): cell for cell in cells(findings)}
    metrics, main = findings.record["metrics"], findings.record["metrics"][0]
    with_baseline = bool(findings.record["baselines"])
    published = {name: value["value"] for name, value in findings.record["published"].items()}
    extra = [metric for metric in shown_metrics(findings) if metric not in metrics]
    header = ["variant", "n", *map(metric_name, metrics)]
    header += ["difference", "p (Holm)"] * with_baseline + ["published"] * bool(published)
    header += [*map(metric_name, extra), "best seed", "worst seed"]
    rows = []
    for arm in findings.arms:
        cell = found.get((arm.name, main))
        row = [arm.name, str(len(arm.results))]
        row += [_mean(found.get((arm.name, metric))) for metric in metrics]
        if with_baseline:
            row += _comparison_cells(cell, main)
        if published:
            row.append(show("test/acc", published[arm.name]) if arm.name in published else NOTHING)
        row += [_mean(found.get((arm.name, metric)), with_interval=False) for metric in extra]
        row += [f"{show(main, value)} (seed {seed})" for value, seed in _extremes(cell)] if cell else [NOTHING] * 2
        rows.append(row)
    return header, rows


def _mean(cell: Cell | None, with_interval: bool = True) -> str:
    return show(cell.metric, cell.mean, cell.half_width if with_interval else None) if cell else NOTHING


def _extremes(cell: Cell) -> list[tuple[float, int]]:
    return [(cell.best, cell.best_seed), (cell.worst, cell.worst_seed)]


def _comparison_cells(cell: Cell | None, metric: str) -> list[str]:
    if cell is None or cell.difference is None:
        return [NOTHING, NOTHING]
    return [show(metric, cell.difference, cell.difference_half_width, signed=True), p_text(cell.p_holm)]


def answer(findings: Findings) -> str:
    """What was found, in a sentence or two with the numbers; a difference is claimed only by the paired test."""
    record, metric = findings.record, findings.record["metrics"][0]
    if record["select"]:
        return _selection(findings)
    found = [cell for cell in cells(findings) if cell.metric == metric]
    if not found:
        return "No run is complete yet."
    name = metric_name(metric)
    if record["baselines"]:
        return " ".join(_versus(found, metric, name))
    best = (max if higher_is_better(metric) else min)(found, key=lambda cell: cell.mean)
    if len(found) == 1:
        return f"{best.variant}: {name} {show(metric, best.mean, best.half_width)} ({_seeds(best.n)})."
    rest = sorted((cell for cell in found if cell is not best), key=lambda cell: cell.mean)
    others = "; ".join(f"{cell.variant} {show(metric, cell.mean, cell.half_width)}" for cell in rest)
    if len(rest) > 4:
        low, high = (f"{show(metric, cell.mean)} ({cell.variant})" for cell in (rest[0], rest[-1]))
        others = f"the other {len(rest)} lie between {low} and {high}"
    return (
        f"{best.variant} has the best mean {name}, {show(metric, best.mean, best.half_width)} ({_seeds(best.n)}); "
        f"{others}."
    )


def _seeds(n: int) -> str:
    return f"n = {n}"


def _selection(findings: Findings) -> str:
    select = findings.record["select"]
    chosen = selected(findings.arms, select)
    if chosen is None:
        return "No run is complete yet."
    arm = findings.arm(chosen)
    val = arm.metric(select)
    test = next((metric for metric in findings.record["metrics"] if metric.startswith("test/")), "test/acc")
    tested = arm.metric(test)
    return (
        f"Chosen on {metric_name(select)}: {chosen}, {show(select, val.mean, _number(val.half_width))}; its "
        f"{metric_name(test)} is {show(test, tested.mean, _number(tested.half_width))} ({_seeds(tested.n)})."
    )


def _versus(found: list[Cell], metric: str, name: str) -> Iterable[str]:
    """A sentence for each baseline, then its variants: told apart, or not."""
    by_name = {cell.variant: cell for cell in found}
    unit = " points" if metric.endswith("/acc") else ""
    for baseline in dict.fromkeys(cell.baseline for cell in found if cell.baseline in by_name):
        base = by_name[baseline]
        parts = []
        for cell in found:
            if cell.baseline != baseline:
                continue
            if cell.p_holm is None:
                parts.append(f"{cell.variant} {show(metric, cell.mean)} (one seed: no test)")
            elif all(base.values.get(seed, value) == value for seed, value in cell.values.items()):
                parts.append(f"{cell.variant} equals it on every seed")
            elif cell.p_holm < 0.05:
                size = show(metric, abs(cell.difference), cell.difference_half_width).replace("%", "")
                word = "above" if cell.difference > 0 else "below"
                parts.append(f"{cell.variant} is {size}{unit} {word} it (p {_equals(cell.p_holm)})")
            else:
                difference = show(metric, cell.difference, cell.difference_half_width, signed=True)
                parts.append(f"{cell.variant} is not told apart from it ({difference}{unit}, p {_equals(cell.p_holm)})")
        yield f"{baseline}: {name} {show(metric, base.mean, base.half_width)} ({_seeds(base.n)}); {'; '.join(parts)}."


def _equals(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def protocol(findings: Findings) -> list[str]:
    """How the numbers came about: budgets, seeds, statistics, machine, versions."""
    results = [result for arm in findings.arms for result in arm.results]
    lines = [_budget(findings)] if results else []
    lines.append(f"Seeds: {', '.join(map(str, findings.record['seeds']))}.")
    lines.append(
        "Every number is of the checkpoint that was best on validation; the test set chose nothing. "
        "mean ± half-width of the 95 % Student interval over n seeds; seconds are means of wall time of training and "
        "validation."
    )
    if findings.record["baselines"]:
        lines.append(
            "Differences to the baseline: on the same seeds, two-sided paired t-test, Holm's correction over all "
            f"comparisons on one metric. They and p are of {metric_name(findings.record['metrics'][0])}."
        )
    for name, value in findings.record["published"].items():
        lines.append(f"Published for {name}: {published_protocol(value)}")
    if results:
        devices = sorted({f"{r['device']}, {r['num_threads']} thread(s) a run" for r in results})
        versions = sorted({", ".join(f"{k} {v}" for k, v in r["versions"].items()) for r in results})
        lines += [f"Machine: {'; '.join(devices)}.", f"Versions: {'; '.join(versions)}."]
    return lines


def _budget(findings: Findings) -> str:
    budgets = {
        arm.name: sorted({(result["epochs"], result["steps"]) for result in arm.results})
        for arm in findings.arms
        if arm.results
    }
    texts = {name: " or ".join(f"{e} epochs, {s:,} steps" for e, s in pairs) for name, pairs in budgets.items()}
    if len(set(texts.values())) == 1:
        return f"Equal budgets: every variant trained for {next(iter(texts.values()))}."
    return "Budgets differ: " + "; ".join(f"{name} {text}" for name, text in texts.items()) + "."


def published_protocol(value: dict[str, Any]) -> str:
    """Where a published number comes from and how it was measured, as far as it says."""
    protocol = value.get("protocol")
    if isinstance(protocol, dict):
        protocol = ", ".join(f"{key} {entry}" for key, entry in protocol.items())
    parts = [
        f"{show('test/acc', value['value'])}, {value['report'] or 'report unknown'}, one seed",
        protocol,
        value["note"],
    ]
    return "; ".join(part for part in parts if part) + "."


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *rows)
    )


def write_tables(findings: Findings, folder: Path) -> None:
    """``summary.csv``, ``summary.json`` and ``summary.md``."""
    found = [asdict(cell) for cell in cells(findings)]
    with (folder / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[name for name in Cell.__dataclass_fields__ if name != "values"])
        writer.writeheader()
        writer.writerows({name: value for name, value in row.items() if name != "values"} for row in found)
    content = {name: findings.record[name] for name in ("name", "question", "command", "seeds", "select")}
    content |= {"answer": answer(findings), "missing_runs": findings.num_missing, "cells": found}
    (folder / "summary.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "summary.md").write_text(as_markdown(findings))


def as_markdown(findings: Findings, figures: Iterable[str] = ()) -> str:
    """Question, answer, table, figures, protocol and command."""
    lines = [f"# {findings.record['name']}", "", f"**{findings.record['question']}**", "", answer(findings), ""]
    if findings.num_missing:
        lines += [f"{findings.num_missing} runs are still missing.", ""]
    lines += [markdown_table(*table(findings)), ""]
    for figure in figures:
        lines += [f"![{Path(figure).stem}]({figure})", ""]
    lines += [f"- {line}" for line in protocol(findings)]
    return "\n".join([*lines, "", f"    {findings.record['command']}", ""])

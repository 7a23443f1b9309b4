"""A study's tables, header and rows."""

from studies.cells import Cell, cells, equal_parameters, main_metric, show_cell
from studies.record import Findings
from studies.spec import ALWAYS_SHOWN
from studies.summary import Experiment
from studies.wording import NOTHING, metric_name, p_text, show, show_claims, show_values


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
    measured = [metric for metric in metrics if metric not in ALWAYS_SHOWN]  # these the protocol and the index have
    published = [metric for metric in measured if any(findings.claims(arm.name, metric) for arm in arms)]
    same = {"num_parameters"} if equal_parameters(findings) else set()
    extra = [metric for metric in ALWAYS_SHOWN if metric not in {*metrics, *same}]
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

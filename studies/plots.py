"""A study's figures, from the files of its runs; each as SVG, for the report, and as PNG."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from studies.record import Findings
from studies.summary import Experiment, student_interval
from studies.tables import metric_name

# Okabe and Ito's palette, told apart by colour-blind readers, in the order of callbacks/figures.py, which studies
# must not import; the last is the ink, so that it is seen on dark paper too.
INK = "#1a1c1e"
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", INK]
DASHES = ["-", "--", ":", "-."]
STYLE = {
    "font.size": 10, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none",
    "font.family": "sans-serif", "legend.frameon": False, "lines.linewidth": 1.6, "axes.titlesize": 10,
}  # fmt: skip
WIDTH_INCHES = 4.8


def draw(findings: Findings, folder: Path) -> list[Path]:
    """Draw every plot that the study asks for and has data for; returns the SVG files."""
    figures = folder / "figures"
    paths = []
    if not any(arm.results for arm in findings.arms):
        return paths
    figures.mkdir(exist_ok=True)
    for name, options in findings.record["plots"]:
        stem = "-".join([name, *(str(value).replace("/", "-") for value in options.values())])
        with matplotlib.rc_context(STYLE | {"svg.hashsalt": f"{findings.record['name']}-{stem}"}):
            figure = FIGURES[name](findings, **options)
            if figure is not None:
                paths.append(_save(figure, figures / stem))
    return paths


def _save(figure: Figure, stem: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(stem.with_name(stem.name + ".png"), dpi=150, facecolor="white")
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    path = stem.with_name(stem.name + ".svg")
    path.write_text(text.getvalue())
    return path


def _style(k: int) -> dict[str, Any]:
    return {"color": PALETTE[k % len(PALETTE)], "linestyle": DASHES[k // len(PALETTE) % len(DASHES)]}


def _figure(height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, sharey=True)[0]


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the plot, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=2 if max(map(len, labels)) < 34 else 1)


def _percent(axis: Any, metric: str) -> None:
    if metric.endswith("/acc"):
        axis.set_major_formatter(PercentFormatter(1.0))


def _history(result: dict[str, Any], metric: str) -> dict[int, float]:
    """A metric after each epoch, counted from 1."""
    path = Path(result["path"], "history.csv")
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {int(row["epoch"]) + 1: float(row[metric]) for row in csv.DictReader(file) if row.get(metric)}


def curves(findings: Findings, x: str | None = None) -> Figure | None:
    """A metric of the history (default: the main one on validation) by epoch: mean and 95 % Student band."""
    metric = x or "val/" + findings.record["metrics"][0].split("/")[-1]
    figure, (axes,) = _figure(3.4)
    for k, arm in enumerate(findings.arms):
        epochs, mean, half_width = _band([_history(result, metric) for result in arm.results])
        if not len(epochs):
            continue
        marker = "o" if len(epochs) < 3 else None
        axes.plot(epochs, mean, label=arm.name, marker=marker, **_style(k))
        axes.fill_between(epochs, mean - half_width, mean + half_width, color=_style(k)["color"], alpha=0.18, lw=0)
    if not axes.lines:
        return None
    axes.set(xlabel="epoch", ylabel=metric_name(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.2)
    _percent(axes.yaxis, metric)
    _legend(figure, axes)
    return figure


def _band(histories: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs that every seed has, the mean and the half-width, zero for a single seed."""
    common = sorted(set.intersection(*map(set, histories))) if histories else []
    intervals = [student_interval(history[epoch] for history in histories) for epoch in common]
    half_widths = np.nan_to_num([interval.half_width for interval in intervals])
    return np.array(common), np.array([interval.mean for interval in intervals]), half_widths


def bars(findings: Findings, x: str | None = None) -> Figure | None:
    """A metric (default: the main one) of each variant: mean with 95 % interval, each seed, the published value.

    Bars start at zero; where that would hide the differences there is a point in a bar's place.
    """
    metric = x or findings.record["metrics"][0]
    arms = [arm for arm in findings.arms if arm.by_seed(metric)]
    if not arms:
        return None
    figure, (axes,) = _figure(1.1 + 0.36 * len(arms))
    lowest = min(min(arm.by_seed(metric).values()) for arm in arms)
    highest = max(max(arm.by_seed(metric).values()) for arm in arms)
    from_zero = lowest < highest / 2
    for row, arm in enumerate(arms):
        _bar(axes, row, arm, metric, from_zero)
        published = findings.published(arm.name, metric)
        if published is not None:
            label = "published" if "published" not in axes.get_legend_handles_labels()[1] else None
            axes.plot(published, row, "D", mfc="none", mec=INK, ms=6, label=label, zorder=4)
    axes.set(xlabel=metric_name(metric), yticks=range(len(arms)), yticklabels=[arm.name for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)  # the first variant on top
    axes.grid(axis="x", alpha=0.2)
    _percent(axes.xaxis, metric)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35 if len(arms) < 6 else -0.2))
    return figure


def _bar(axes: Axes, row: int, arm: Experiment, metric: str, from_zero: bool) -> None:
    values = list(arm.by_seed(metric).values())
    interval = student_interval(values)
    colour = PALETTE[row % len(PALETTE)]
    if from_zero:
        axes.barh(row, interval.mean, color=colour, alpha=0.35, height=0.7)
    axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.45, ms=3.5, mew=0)
    width = np.nan_to_num(interval.half_width)
    axes.errorbar(interval.mean, row, xerr=width, fmt="s", color=colour, ms=5, capsize=3, elinewidth=1.6, zorder=3)


def _at(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config


def against(findings: Findings, x: str, metric: str | None = None, series: str | None = None) -> Figure | None:
    """A metric against a number in the config, such as accuracy against length; the published values as diamonds.

    Args:
        findings: of the study.
        x: dotted key of the number.
        metric: default: the study's main one.
        series: dotted key that tells the lines apart; default: what is left of a grid's variant names.
    """
    metric = metric or findings.record["metrics"][0]
    lines: dict[str, list[tuple[float, Experiment]]] = {}
    for arm in findings.arms:
        value = _at(findings.config(arm.name), x)
        if arm.by_seed(metric) and isinstance(value, int | float):
            label = f"{x.rsplit('.', 1)[-1]}={value}"
            name = str(_at(findings.config(arm.name), series)) if series else _without(arm.name, label)
            lines.setdefault(name, []).append((value, arm))
    if not lines:
        return None
    figure, (axes,) = _figure(3.4)
    for k, (name, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        intervals = [student_interval(arm.by_seed(metric).values()) for _, arm in points]
        width = np.nan_to_num([interval.half_width for interval in intervals])
        means = [interval.mean for interval in intervals]
        axes.errorbar([v for v, _ in points], means, width, marker="o", ms=4, capsize=3, label=name, **_style(k))
        known = [(v, findings.published(arm.name, metric)) for v, arm in points]
        known = [(v, value) for v, value in known if value is not None]
        if known:
            axes.plot(
                *zip(*known, strict=True),
                "D",
                mfc="none",
                mec=PALETTE[k % len(PALETTE)],
                label=f"{name} published".strip(),
            )
    axes.set(xlabel=x.rsplit(".", 1)[-1].replace("_", " "), ylabel=metric_name(metric))
    axes.grid(alpha=0.2)
    _percent(axes.yaxis, metric)
    _legend(figure, axes)
    return figure


def _without(name: str, label: str) -> str:
    """A grid's variant name less one label; all that have no label are one line."""
    return name.replace(label, "").strip() if label in name else ""


def cost(findings: Findings) -> Figure | None:
    """The main metric against parameters and against seconds of training."""
    metric = findings.record["metrics"][0]
    figure, panels = _figure(3.2, 2)
    arms = [(k, arm) for k, arm in enumerate(findings.arms) if arm.by_seed(metric)]
    for axes, field in zip(panels, ("num_parameters", "train_seconds"), strict=True):
        at = [arm.metric(field).mean for _, arm in arms]
        for (k, arm), x in zip(arms, at, strict=True):
            interval, colour = arm.metric(metric), PALETTE[k % len(PALETTE)]
            width = np.nan_to_num(interval.half_width)
            axes.errorbar(x, interval.mean, width, fmt="o", ms=5, capsize=3, color=colour, label=arm.name)
        axes.set(xlabel=metric_name(field), ylabel=metric_name(metric) if axes is panels[0] else "")
        if max(at) > 5 * min(at):
            axes.set_xscale("log")
        else:
            axes.set_xlim(0, 1.15 * max(at))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.2)
        _percent(axes.yaxis, metric)
    _legend(figure, panels[0])
    return figure


def gradients(findings: Findings) -> Figure | None:
    """Mean gradient magnitude of each layer over training, a panel a variant, from the runs' ``gradients.csv``.

    The file has a row an epoch: ``epoch``, then one column a layer, first to last.
    """
    arms = [(arm, layers) for arm in findings.arms if (layers := _gradients(arm))]
    if not arms:
        return None
    figure, panels = _figure(3.2, len(arms))
    ramp = matplotlib.colormaps["viridis"]
    for axes, (arm, layers) in zip(panels, arms, strict=True):
        for k, (name, by_epoch) in enumerate(layers.items()):
            colour = ramp(0.25 + 0.7 * k / max(1, len(layers) - 1))  # the ramp's ends vanish on dark or light paper
            axes.plot(list(by_epoch), list(by_epoch.values()), color=colour, label=name)
        axes.set(title=arm.name, xlabel="epoch", yscale="log", ylabel="mean |gradient|" if axes is panels[0] else "")
        axes.grid(alpha=0.2)
    _legend(figure, panels[0])
    return figure


def _gradients(arm: Experiment) -> dict[str, dict[int, float]]:
    """For each layer, by epoch, the geometric mean over the seeds."""
    tables = [table for result in arm.results if (table := list(_rows(Path(result["path"], "gradients.csv"))))]
    if not tables:
        return {}
    layers = [name for name in tables[0][0] if name not in ("epoch", "step")]
    return {
        layer: {
            int(rows[0]["epoch"]) + 1: float(np.exp(np.mean([np.log(max(float(row[layer]), 1e-45)) for row in rows])))
            for rows in zip(*tables, strict=False)
        }
        for layer in layers
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="") as file:
            yield from csv.DictReader(file)


FIGURES: dict[str, Callable[..., Figure | None]] = {
    "curves": curves, "bars": bars, "against": against, "cost": cost, "gradients": gradients,
}  # fmt: skip

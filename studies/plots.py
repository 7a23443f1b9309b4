"""A study's figures, from the files of its runs; each as SVG, for the report, and as PNG."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from scipy.stats import binomtest

from studies.axes import (
    DASHES,
    INK,
    PALETTE,
    STYLE,
    axis_name,
    error_bars,
    interval_ends,
    label_outer,
    legend_below,
    line_style,
    one_row,
    panel_grid,
    set_logarithmic,
    set_percent,
    spans_decades,
)
from studies.gradient_plots import depth, gradients
from studies.record import Findings
from studies.runs import read_history
from studies.summary import Experiment, is_accuracy, student_interval
from studies.wording import metric_name, show


def draw(findings: Findings, folder: Path) -> list[tuple[str, Path]]:
    """Draw every plot that the study asks for and has data for; returns what each one shows, and its SVG file."""
    figures = folder / "figures"
    drawn = []
    if not any(arm.results for arm in findings.arms):
        return drawn
    figures.mkdir(exist_ok=True)
    for name, options in findings.record["plots"]:
        stem = "-".join([name, *(str(value).replace("/", "-") for value in options.values())])
        with matplotlib.rc_context(STYLE | {"svg.hashsalt": f"{findings.record['name']}-{stem}"}):
            figure = FIGURES[name](findings, **options)
            if figure is not None:
                drawn.append((_caption(findings, name, **options), _save(figure, figures / stem)))
    return drawn


def _caption(findings: Findings, name: str, x: str = "", metric: str = "", **others: Any) -> str:
    """For readers who do not see the figure."""
    main = findings.record["metrics"][0]
    if name == "against":
        return f"{metric_name(metric or main)} against {x.rsplit('.', 1)[-1].replace('_', ' ')}"
    if name == "curves":
        return f"{metric_name(x or _on_validation(main))} by epoch"
    return {
        "bars": f"{metric_name(x or main)} of each variant", "share": f"share of seeds by {metric_name(x or main)}",
        "cost": f"{metric_name(main)} against parameters and against seconds",
        "gradients": "gradient magnitude of each layer by step", "depth": "gradient magnitude against depth",
    }[name]  # fmt: skip


def _on_validation(metric: str) -> str:
    return "val/" + metric.split("/")[-1]


def _save(figure: Figure, stem: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(stem.with_name(stem.name + ".png"), dpi=150, facecolor="white")
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    path = stem.with_name(stem.name + ".svg")
    path.write_text(text.getvalue())
    return path


def curves(findings: Findings, x: str | None = None) -> Figure | None:
    """A metric of the history (default: the main one on validation) by epoch: mean and 95 % Student band.

    Where the variants' names are a product, as moons and circles by NumPy and PyTorch are, each first part has a panel.
    """
    metric = x or _on_validation(findings.record["metrics"][0])
    bands = {
        arm.name: _band([read_history(Path(result["path"]), metric) for result in arm.results]) for arm in findings.arms
    }
    bands = {name: band for name, band in bands.items() if len(band[0])}
    if not bands:
        return None
    titles = _product(list(bands)) or {"": {name: name for name in bands}}
    figure, panels = panel_grid(len(titles))
    logarithmic = not is_accuracy(metric) and spans_decades(np.concatenate([mean for _, mean, _ in bands.values()]))
    for axes, (title, labels) in zip(panels, titles.items(), strict=True):
        for k, (name, label) in enumerate(labels.items()):
            _curve(axes, metric, bands[name], label, line_style(k) | ({"linestyle": DASHES[k % 4]} if title else {}))
        axes.set(title=title, yscale="log" if logarithmic else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(4 if title else "auto", integer=True))
        axes.grid(alpha=0.2)
        set_percent(axes, "y", metric)
    label_outer(panels, "epoch", axis_name(metric))
    legend_below(figure, panels[0])
    return figure


def _curve(axes: Axes, metric: str, band: tuple[np.ndarray, ...], label: str, style: dict[str, Any]) -> None:
    epochs, mean, half_width = band
    axes.plot(epochs, mean, label=label, marker="o" if len(epochs) < 3 else None, **style)
    low, high = interval_ends(metric, mean, half_width)
    if not is_accuracy(metric):
        low = low.clip(mean / 10)  # a loss is positive, so that its band has room on a logarithmic axis
    axes.fill_between(epochs, low, high, color=style["color"], alpha=0.18, lw=0)


def _product(names: list[str]) -> dict[str, dict[str, str]] | None:
    """Names by all but their last word, each with its last: only if every group has the same last words."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        first, _, last = name.rpartition(" ")
        groups.setdefault(first, {})[name] = last
    words = [tuple(group.values()) for group in groups.values()]
    return groups if len(groups) > 1 and len(words[0]) > 1 and len(set(words)) == 1 else None


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
    arms = findings.arms_with(metric)
    if not arms:
        return None
    figure, (axes,) = one_row(1.1 + 0.36 * len(arms))
    lowest = min(min(arm.by_seed(metric).values()) for arm in arms)
    highest = max(max(arm.by_seed(metric).values()) for arm in arms)
    from_zero = lowest < highest / 2
    for row, arm in enumerate(arms):
        _bar(axes, row, arm, metric, from_zero)
        published = findings.published(arm.name, metric)
        if published is not None:
            label = "published" if "published" not in axes.get_legend_handles_labels()[1] else None
            axes.plot(published, row, "D", mfc="none", mec=INK, ms=6, label=label, zorder=4, clip_on=False)
    axes.set(xlabel=axis_name(metric), yticks=range(len(arms)), yticklabels=[arm.name for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)  # the first variant on top
    axes.grid(axis="x", alpha=0.2)
    set_percent(axes, "x", metric)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))  # 97.25% is wide
    if axes.get_legend_handles_labels()[1]:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center")
    return figure


def _bar(axes: Axes, row: int, arm: Experiment, metric: str, from_zero: bool) -> None:
    values = list(arm.by_seed(metric).values())
    interval = student_interval(values)
    colour = PALETTE[row % len(PALETTE)]
    error = error_bars(metric, [interval.mean], [interval.half_width])
    if from_zero:
        axes.barh(row, interval.mean, color=colour, alpha=0.35, height=0.7)
    axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.45, ms=3.5, mew=0, clip_on=False)
    mark = {"fmt": "s", "ms": 5, "capsize": 3, "elinewidth": 1.6, "zorder": 3, "clip_on": False}
    axes.errorbar([interval.mean], [row], xerr=error, color=colour, **mark)


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
    for arm in findings.arms_with(metric):
        value = _at(findings.config(arm.name), x)
        if isinstance(value, int | float):
            label = f"{x.rsplit('.', 1)[-1]}={value}"
            name = str(_at(findings.config(arm.name), series)) if series else _without(arm.name, label)
            lines.setdefault(name, []).append((value, arm))
    if not lines:
        return None
    figure, (axes,) = one_row(3.4)
    for k, (name, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        intervals = [student_interval(arm.by_seed(metric).values()) for _, arm in points]
        means = np.array([interval.mean for interval in intervals])
        error = error_bars(metric, means, [interval.half_width for interval in intervals])
        mark = {"marker": "o", "ms": 4, "capsize": 3, "clip_on": False, "label": name}
        axes.errorbar([v for v, _ in points], means, error, **mark, **line_style(k))
        known = [(v, findings.published(arm.name, metric)) for v, arm in points]
        known = [(v, value) for v, value in known if value is not None]
        if known:
            axes.plot(
                *zip(*known, strict=True),
                "D",
                mfc="none",
                mec=PALETTE[k % len(PALETTE)],
                clip_on=False,
                label=f"{name} published".strip(),
            )
    axes.set(xlabel=x.rsplit(".", 1)[-1].replace("_", " "), ylabel=axis_name(metric))
    if spans_decades(v for points in lines.values() for v, _ in points):
        set_logarithmic(axes)
    axes.grid(alpha=0.2)
    set_percent(axes, "y", metric)
    legend_below(figure, axes)
    return figure


def _without(name: str, label: str) -> str:
    """A grid's variant name less one label; all that have no label are one line."""
    return name.replace(label, "").strip() if label in name else ""


def cost(findings: Findings) -> Figure | None:
    """The main metric against parameters and against seconds of training."""
    metric = findings.record["metrics"][0]
    shown = findings.arms_with(metric)
    if not shown:
        return None
    figure, panels = one_row(3.2, 2)
    arms = [(k, arm) for k, arm in enumerate(findings.arms) if arm in shown]  # colours as in the other figures
    for axes, field in zip(panels, ("num_parameters", "train_seconds"), strict=True):
        at = [arm.metric(field).mean for _, arm in arms]
        for (k, arm), x in zip(arms, at, strict=True):
            interval, colour = arm.metric(metric), PALETTE[k % len(PALETTE)]
            error = error_bars(metric, [interval.mean], [interval.half_width])
            mark = {"fmt": "o", "ms": 5, "capsize": 3, "clip_on": False, "label": arm.name}
            axes.errorbar([x], [interval.mean], error, color=colour, **mark)
        axes.set(xlabel=axis_name(field), ylabel=axis_name(metric) if axes is panels[0] else "")
        if max(at) > 5 * min(at):
            set_logarithmic(axes)
        else:
            axes.set_xlim(0, 1.15 * max(at))
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.2)
        set_percent(axes, "y", metric)
    legend_below(figure, panels[0])
    return figure


def share(findings: Findings, x: str | None = None, at_least: float = 1.0) -> Figure | None:
    """The share of seeds whose metric (default: the main one) is at least so much, with Wilson's 95 % interval."""
    metric = x or findings.record["metrics"][0]
    arms = findings.arms_with(metric)
    if not arms:
        return None
    figure, (axes,) = one_row(1.1 + 0.36 * len(arms))
    for row, arm in enumerate(arms):
        values = list(arm.by_seed(metric).values())
        hits, colour = sum(value >= at_least for value in values), PALETTE[row % len(PALETTE)]
        mean, interval = hits / len(values), binomtest(hits, len(values)).proportion_ci(method="wilson")
        axes.barh(row, mean, color=colour, alpha=0.35, height=0.7)
        error = [[mean - interval.low], [interval.high - mean]]
        axes.errorbar([mean], [row], xerr=error, fmt="s", color=colour, ms=5, capsize=3, clip_on=False)
        axes.annotate(
            f"{hits} of {len(values)}", (1, row), xytext=(8, 0), textcoords="offset points", va="center", size=9
        )
    axes.set(yticks=range(len(arms)), yticklabels=[arm.name for arm in arms], xlim=(0, 1))
    axes.set_xlabel(f"share of seeds with {metric_name(metric)} ≥ {show(metric, at_least)}")
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.2)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


FIGURES: dict[str, Callable[..., Figure | None]] = {
    "curves": curves, "bars": bars, "against": against, "cost": cost, "gradients": gradients,
    "depth": depth, "share": share,
}  # fmt: skip

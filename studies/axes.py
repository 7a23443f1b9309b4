"""What a study's figures have in common: colours that all readers tell apart, panels, legends, axes of accuracies."""

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogFormatterSciNotation, LogLocator, NullFormatter, PercentFormatter

from studies.summary import is_accuracy, is_gap
from studies.wording import metric_name

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
LEGEND_HANDLE_INCHES, CHARACTER_INCHES = 0.6, 0.075
MAX_COLUMNS = 3
DECADES = 30


def line_style(k: int) -> dict[str, Any]:
    """Of the k-th variant: colours first, then dashes."""
    return {"color": PALETTE[k % len(PALETTE)], "linestyle": DASHES[k // len(PALETTE) % len(DASHES)]}


def one_row(height: float, columns: int = 1) -> tuple[Figure, Any]:
    """Panels beside each other with one y axis."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False, sharey=True)[0]


def panel_grid(count: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Panels with one y axis, at most ``MAX_COLUMNS`` in a row; a single one is the usual size."""
    if count == 1:
        figure, panels = one_row(3.4)
        return figure, list(panels)
    columns = 2 if count in (2, 4) else MAX_COLUMNS
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH_INCHES * columns / 2 + 1, height * rows + 0.6), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def legend_below(figure: Figure, axes: Axes) -> None:
    """Below the plot, where it covers nothing; in two columns where the longest label leaves room for them."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        column = LEGEND_HANDLE_INCHES + CHARACTER_INCHES * max(map(len, labels))
        ncols = 2 if 2 * column < figure.get_figwidth() else 1
        figure.legend(handles, labels, loc="outside lower center", ncols=ncols)


def label_outer(panels: list[Axes], x: str, y: str) -> None:
    """Labels on the left and below; a figure's own would lie in the legend's place."""
    for axes in panels:
        place = axes.get_subplotspec()
        if place.is_first_col():
            axes.set_ylabel(textwrap.fill(y, 24))
        if place.rowspan.stop == max(other.get_subplotspec().rowspan.stop for other in panels):
            axes.set_xlabel(x)


def axis_name(metric: str) -> str:
    """The metric's name, with the unit where the numbers beside it do not say it."""
    return f"{metric_name(metric)}, points" if is_gap(metric) else metric_name(metric)


def set_percent(axes: Axes, which: str, metric: str) -> None:
    """Accuracies in percent, and nothing beyond 100 %; an interval may end there that would go further.

    Differences of accuracies, in points, have no such end.
    """
    if not is_accuracy(metric):
        return
    if is_gap(metric):
        getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{100 * value:g}")
        return
    getattr(axes, f"{which}axis").set_major_formatter(PercentFormatter(1.0))
    low, high = getattr(axes, f"get_{which}lim")()
    getattr(axes, f"set_{which}lim")(max(low, 0.0), min(high, 1.0))


def interval_ends(metric: str, mean: Any, half_width: Any) -> np.ndarray:
    """Lower and upper end of intervals, (2, n); those of shares end at 0 and 1. NaN widths count as none."""
    mean, half_width = np.asarray(mean, dtype=float), np.nan_to_num(np.asarray(half_width, dtype=float))
    ends = np.stack([mean - half_width, mean + half_width])
    return ends.clip(0.0, 1.0) if is_accuracy(metric) and not is_gap(metric) else ends


def error_bars(metric: str, mean: Any, half_width: Any) -> np.ndarray:
    """The same as lengths, as ``errorbar`` wants them."""
    low, high = interval_ends(metric, mean, half_width)
    return np.stack([mean - low, high - mean])


def spans_decades(values: Iterable[float]) -> bool:
    """Whether positive values differ so much that a logarithmic axis shows them better."""
    values = list(values)
    return min(values) > 0 and max(values) > DECADES * min(values)


def set_logarithmic(axes: Axes) -> None:
    """A logarithmic x axis with as many numbers as there is room for."""
    low, high = axes.dataLim.intervalx
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if low >= 1 else LogFormatterSciNotation())

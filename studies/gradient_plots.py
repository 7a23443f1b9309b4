"""Figures of gradient magnitudes, from the ``gradients.csv`` of a study's runs."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from studies.axes import label_outer, legend_below, line_style, panel_grid
from studies.gradients import last_epoch, read_flow
from studies.record import Findings
from studies.summary import Experiment, student_interval


def gradients(findings: Findings) -> Figure | None:
    """Mean gradient magnitude of each layer over training, a panel a variant, from the runs' ``gradients.csv``.

    Lines are geometric means over the seeds.
    """
    arms = [(arm, flows) for arm in findings.arms if (flows := _flows(arm))]
    if not arms:
        return None
    figure, panels = panel_grid(len(arms))
    ramp = matplotlib.colormaps["viridis"]
    for axes, (arm, flows) in zip(panels, arms, strict=True):
        steps = flows[0][:, 1]
        magnitudes = np.exp(np.mean([np.log(flow[:, 2:]) for flow in flows], axis=0))  # (steps, layers)
        for k, layer in enumerate(magnitudes.T):
            colour = ramp(0.25 + 0.7 * k / max(1, magnitudes.shape[1] - 1))  # the ramp's ends vanish on dark or light
            axes.plot(steps, layer, color=colour, lw=1.1, label=f"layer {k + 1}")
        axes.set(title=arm.name, xscale="log", yscale="log")
        axes.grid(alpha=0.2)
    label_outer(panels, "step", "mean |gradient|")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def depth(findings: Findings) -> Figure | None:
    """Mean gradient magnitude against depth, a line a variant: at the first step, and over the last epoch.

    Geometric means, over the last epoch's rows and over the seeds, with 95 % Student bands of the logarithms.
    """
    arms = [(k, arm, flows) for k, arm in enumerate(findings.arms) if (flows := _flows(arm))]
    if not arms:
        return None
    figure, panels = panel_grid(2)
    for k, arm, flows in arms:
        first = [np.log(flow[0, 2:]) for flow in flows]
        last = [last_epoch(flow) for flow in flows]
        for axes, by_seed in zip(panels, (first, last), strict=True):
            intervals = [student_interval(layer) for layer in np.transpose(by_seed)]
            mean = np.array([interval.mean for interval in intervals])
            half_width = np.nan_to_num([interval.half_width for interval in intervals])
            layers = range(1, len(mean) + 1)
            axes.plot(layers, np.exp(mean), marker="o", ms=4, label=arm.name, **line_style(k))
            low, high = np.exp(mean - half_width), np.exp(mean + half_width)
            axes.fill_between(layers, low, high, color=line_style(k)["color"], alpha=0.18, lw=0)
    for axes, title in zip(panels, ("first step", "last epoch"), strict=True):
        axes.set(title=title, yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.2)
    label_outer(panels, "layer, input to output", "mean |gradient|")
    legend_below(figure, panels[0])
    return figure


def _flows(arm: Experiment) -> list[np.ndarray]:
    """For each seed (rows, 2 + layers), cut to the rows that all seeds have."""
    flows = [flow for result in arm.results if (flow := read_flow(Path(result["path"]))) is not None]
    return [flow[: min(map(len, flows))] for flow in flows]

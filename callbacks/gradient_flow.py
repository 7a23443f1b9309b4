"""How large the gradient of each layer's weights is, from the first step of training to the last."""

import csv
import os
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn
from torch.optim import Optimizer

from callbacks.figures import PALETTE, publish
from callbacks.run_record import read_history

SMALLEST = 1e-45  # stands for zero on a logarithmic axis


def layer_weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The trained weights of each layer, first to last, by the layer's name in ``net``.

    Weights have two axes or more; biases and the scales of normalisations have one and are left out.
    """
    return {
        name.removesuffix(".weight"): parameter
        for name, parameter in net.named_parameters()
        if parameter.ndim >= 2 and parameter.requires_grad
    }


def mean_magnitudes(gradients: list[Tensor | None]) -> list[float]:
    """mean |g| over the entries of each gradient; NaN where there is none."""
    missing = torch.tensor(torch.nan)
    device = next((g.device for g in gradients if g is not None), None)
    means = [(missing if g is None else torch.linalg.vector_norm(g, 1) / g.numel()).to(device) for g in gradients]
    return torch.stack(means).tolist()  # one transfer from the device for all layers


class GradientFlow(Callback):
    """Records how far the gradient reaches: ``gradients.csv``, TensorBoard's ``gradients/*``, figure ``gradient_flow``.

    A row is one training step: ``epoch`` and ``step`` (the first step is 1), then for each layer mean |dL/dw| over all
    entries w of its weight matrix, where L is that step's loss on its own batch. A row averages over nothing else: not
    over batches, steps or layers. The gradient is the whole one that the optimiser is about to use, after accumulation
    and unscaling, before clipping. Rows are written at the end of each epoch; a resumed run drops those that its
    checkpoint has not seen.

    Args:
        every_n_steps: a row for each step that this number divides, >= 1; before its first multiple, where a gradient
            changes fastest, for steps 1, 2, 4, 8 and so on.
    """

    def __init__(self, every_n_steps: int = 50):
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be >= 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self.rows: list[dict[str, float]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find the layers, and take up the rows of the epochs that the checkpoint has seen."""
        self.weights = layer_weights(pl_module.net)
        self.path = Path(trainer.default_root_dir, "gradients.csv")
        self.active = trainer.is_global_zero and not trainer.fast_dev_run  # which leaves no files
        if not self.active:
            return
        rows = [row for row in read_history(self.path) if int(row["epoch"]) < trainer.current_epoch]
        self.rows = [{name: float(value) for name, value in row.items()} for row in rows]
        self.num_written = len(rows)
        self._rewrite()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Measure one step; Lightning clips after this."""
        step = trainer.global_step + 1
        early = step < self.every_n_steps and step.bit_count() == 1  # a power of two
        if not self.active or (step % self.every_n_steps and not early):
            return
        means = dict(zip(self.weights, mean_magnitudes([w.grad for w in self.weights.values()]), strict=True))
        self.rows.append({"epoch": trainer.current_epoch, "step": step} | means)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics({f"gradients/{name}": mean for name, mean in means.items()}, step)

    # The order of callbacks puts checkpoints after this, so a checkpoint finds its own epoch's rows in the file.
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append the epoch's rows."""
        if not self.active:
            return
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows(self._cells(self.rows[self.num_written :]))
        self.num_written = len(self.rows)

    def _rewrite(self) -> None:
        """Header and rows in one step: a kill halfway must not lose any."""
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            csv.writer(file).writerows([["epoch", "step", *self.weights], *self._cells(self.rows)])
        os.replace(partial, self.path)

    def _cells(self, rows: list[dict[str, float]]) -> list[list[str]]:
        """Rows as text; six digits say more than a batch's gradient does."""
        return [[f"{row[name]:.0f}" for name in ("epoch", "step")] + [f"{row[name]:.6g}" for name in self.weights]
                for row in rows]  # fmt: skip

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw."""
        if self.active and self.rows and self.weights:
            publish(trainer, "gradient_flow", draw_flow(self.rows, list(self.weights)))


def draw_flow(rows: list[dict[str, float]], layers: list[str]) -> Figure:
    """Left, magnitude against depth at the first step, halfway and at the end; right, each layer's over training.

    Args:
        rows: in the order of the steps: ``epoch``, ``step`` and a magnitude for each layer.
        layers: names of the layers, from the input to the output.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    depth, training = figure.subplots(1, 2, sharey=True)
    values = np.array([[row[name] for name in layers] for row in rows]).clip(SMALLEST)  # (rows, layers)
    _draw_depth(depth, rows, values)
    steps = [row["step"] for row in rows]
    for k in range(len(layers)):
        colour = colormaps["viridis"](0.9 * k / max(len(layers) - 1, 1))
        training.plot(steps, values[:, k], color=colour, lw=1, label=f"layer {k + 1}")
    training.set(xlabel="step", xscale="log", title="Over training")
    training.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in (depth, training):
        axes.grid(alpha=0.3)
    return figure


def _draw_depth(axes: Axes, rows: list[dict[str, float]], values: np.ndarray) -> None:
    """Magnitude against depth; later epochs are geometric means over their rows, as one batch scatters."""
    epochs = np.array([row["epoch"] for row in rows])
    chosen = {"first step": values[0]}
    for epoch in sorted({epochs[len(epochs) // 2], epochs[-1]}):
        chosen[f"mean of epoch {epoch + 1:.0f}"] = np.exp(np.log(values[epochs == epoch]).mean(axis=0))
    for (label, magnitudes), colour in zip(chosen.items(), PALETTE, strict=False):
        axes.plot(range(1, len(magnitudes) + 1), magnitudes, "o-", ms=4, color=colour, label=label)
    axes.set(
        xlabel="layer, from the input to the output", yscale="log", ylabel=r"mean $|\partial L / \partial w|$",
        title="Against depth",
    )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)

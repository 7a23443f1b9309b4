"""The regions that a classifier of points in the plane has learnt, with the points."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.figures import PALETTE, publish

GRID_STEPS = 200


def _lighten(colour: str, share: float = 0.65) -> tuple[float, ...]:
    return tuple(1 - (1 - channel) * (1 - share) for channel in to_rgb(colour))


def grid_over(points: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x and y, (GRID_STEPS, GRID_STEPS) each, over the points' bounding box and a tenth beyond."""
    low, high = points.min(dim=0).values, points.max(dim=0).values
    margin = 0.1 * (high - low)
    x, y = (torch.linspace(a, b, GRID_STEPS) for a, b in zip(low - margin, high + margin, strict=True))
    return torch.meshgrid(x, y, indexing="xy")


class DecisionBoundary(Callback):
    """After the test, one figure: predicted regions, training points as dots, test points as crosses.

    On data that are not points in the plane it says so and draws nothing.
    """

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw with the weights that were tested."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        if data.sample_shape != [2]:
            trainer.print(f"DecisionBoundary draws points in the plane, not samples of shape {data.sample_shape}")
            return
        x, y = grid_over(torch.cat([data.train_set.samples, data.test_set.samples]))
        points = torch.stack([x.flatten(), y.flatten()], dim=1).to(pl_module.device, pl_module.dtype)
        with torch.no_grad():
            regions = pl_module(points).argmax(dim=1).cpu().view(x.shape)
        publish(trainer, "decision_boundary", self._draw(trainer, x, y, regions))

    def _draw(self, trainer: L.Trainer, x: Tensor, y: Tensor, regions: Tensor) -> Figure:
        data = trainer.datamodule
        colours = PALETTE[: data.num_classes]
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        axes = figure.add_subplot()
        axes.pcolormesh(
            x.numpy(),
            y.numpy(),
            regions.numpy(),
            cmap=ListedColormap([_lighten(c) for c in colours]),
            vmin=0,
            vmax=len(colours) - 1,
        )
        self._scatter(axes, data, colours)
        accuracy = trainer.callback_metrics["test/acc"].item()
        axes.set(xlabel="$x_1$", ylabel="$x_2$", title=f"Decision regions, test accuracy {accuracy:.1%}")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
        return figure

    def _scatter(self, axes: Axes, data: L.LightningDataModule, colours: list[str]) -> None:
        few = len(data.train_set) < 20
        for k, colour in enumerate(colours):
            train, test = (part.samples[part.targets == k].numpy() for part in (data.train_set, data.test_set))
            name = data.class_names[k]
            axes.scatter(*train.T, s=160 if few else 10, color=colour, alpha=0.7, lw=0, label=f"{name}, training")
            axes.scatter(*test.T, s=60 if few else 26, marker="x", color="black", lw=2.2 if not few else 2.6, zorder=2)
            axes.scatter(
                *test.T, s=40 if few else 18, marker="x", color=colour, lw=1.0, zorder=3, label=f"{name}, test"
            )

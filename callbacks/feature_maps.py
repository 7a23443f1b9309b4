"""What a network's first layer has learnt to see."""

import math

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from callbacks.figures import publish
from callbacks.pictures import grid, is_image, to_picture

NUM_IMAGES = 3
MOST_FILTERS = 144


class FirstLayer(Callback):
    """After the test, two figures: the filters of the first layer, and its output for three test images.

    The first layer is the first convolution; a network without one has a linear layer, whose weights to each unit
    are drawn as an image and whose output has no maps. On data that are not images it says so and draws nothing.
    """

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw with the weights that were tested."""
        data = trainer.datamodule
        if not is_image(data.sample_shape):
            trainer.print(f"FirstLayer draws what sees images, not samples of shape {data.sample_shape}")
            return
        if not trainer.is_global_zero:
            return
        layer = first_layer(pl_module)
        filters = filters_of(layer, data.sample_shape)
        publish(trainer, "first_layer_filters", filters_figure(filters, fixed=not layer.weight.requires_grad))
        if isinstance(layer, nn.Conv2d):
            rows = one_of_each_class(data.test_set.targets.cpu())
            images = data.test_set.samples[rows].to(pl_module.device)
            names = [data.class_names[int(data.test_set.targets[i])] for i in rows]
            publish(trainer, "first_layer_maps", maps_figure(images.cpu(), output_of(layer, pl_module, images), names))


def first_layer(module: nn.Module) -> nn.Conv2d | nn.Linear:
    """The first convolution, or the first linear layer of a network that has none."""
    found = [layer for kind in (nn.Conv2d, nn.Linear) for layer in module.modules() if isinstance(layer, kind)]
    return found[0]


def filters_of(layer: nn.Conv2d | nn.Linear, sample_shape: list[int]) -> Tensor:
    """Weights (F, C, H, W); of a linear layer as images of the samples' shape."""
    weight = layer.weight.detach().float().cpu()
    return weight if isinstance(layer, nn.Conv2d) else weight.view(-1, *sample_shape)


def one_of_each_class(targets: Tensor) -> list[int]:
    """Row numbers of the first test image of each of the first three classes."""
    classes = targets.unique()[:NUM_IMAGES].tolist()
    return [int((targets == k).nonzero()[0]) for k in classes]


def output_of(layer: nn.Module, module: L.LightningModule, images: Tensor) -> Tensor:
    """What a layer inside a module returns for images (N, C, H, W): (N, F, H', W')."""
    kept = []
    hook = layer.register_forward_hook(lambda _, inputs, output: kept.append(output.float().cpu()))
    was_training = module.training
    module.eval()
    with torch.no_grad():
        module(images)
    module.train(was_training)
    hook.remove()
    return kept[0]


def _columns(num: int) -> int:
    return max(4, math.ceil(math.sqrt(2 * num)))


def filters_figure(filters: Tensor, fixed: bool = False) -> Figure:
    """Filters (F, C, H, W), each scaled about zero, which is mid-grey; ``fixed`` ones were not trained."""
    shown = filters[:MOST_FILTERS]
    if shown.shape[1] not in (1, 3):
        shown = shown.flatten(0, 1)[:MOST_FILTERS, None]
    largest = shown.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    columns = _columns(len(shown))
    picture = grid(0.5 + 0.5 * shown / largest, columns)
    figure = Figure(figsize=(8, 8 * picture.shape[0] / picture.shape[1] + 0.5), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _frame(axes, len(shown), columns, shown.shape[2:])
    all_of = "" if len(shown) == len(filters) else f"{len(shown)} of "
    size = f"{filters.shape[2]} x {filters.shape[3]} x {filters.shape[1]}"
    kind = "fixed first-layer" if fixed else "first-layer"
    axes.set_title(f"{all_of}{len(filters)} {kind} filters of {size}; grey is 0, each to its own largest weight")
    axes.axis("off")
    return figure


def _frame(axes: Axes, num: int, columns: int, size: torch.Size) -> None:
    """A line around each picture of a grid, without which a white edge is lost in the white between."""
    height, width = size
    for i in range(num):
        corner = (i % columns) * (width + 1) + 0.5, (i // columns) * (height + 1) + 0.5
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="0.45", linewidth=0.6))


def maps_figure(images: Tensor, maps: Tensor, names: list[str]) -> Figure:
    """Images (N, C, H, W) beside their maps (N, F, H', W'), each map scaled from its least to its largest value."""
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    scaled = (maps - low) / (high - low).clamp(min=1e-12)
    columns = _columns(maps.shape[1])
    aspect = math.ceil(maps.shape[1] / columns) / columns
    figure = Figure(figsize=(11, NUM_IMAGES * (8.6 * aspect + 0.35)), layout="constrained")
    axes = figure.subplots(len(images), 2, width_ratios=[1, 4], squeeze=False)
    for row, image, tiles, name in zip(axes, images, scaled, names, strict=True):
        row[0].imshow(to_picture(image), cmap="gray", vmin=0, vmax=255)
        row[0].set_title(name)
        row[1].imshow(grid(tiles[:, None], columns), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        row[1].set_title(f"{maps.shape[1]} maps of {maps.shape[2]} x {maps.shape[3]}, output of the first convolution")
        for one in row:
            one.axis("off")
    return figure

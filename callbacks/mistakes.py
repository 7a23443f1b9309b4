"""The test images that a model is most sure of and wrong about."""

import math

import lightning as L
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.collected_logits import CollectedLogits
from callbacks.figures import publish
from callbacks.pictures import is_image, to_picture

COLUMNS = 6


class ConfidentMistakes(CollectedLogits):
    """After the test, one page of wrongly classified images, the most confident first.

    Args:
        num_images: how many at most.
    """

    def __init__(self, num_images: int = 30):
        super().__init__()
        if num_images < 1:
            raise ValueError(f"num_images must be >= 1, got {num_images}")
        self.num_images = num_images

    def draw(self, trainer: L.Trainer, logits: Tensor, targets: Tensor) -> None:
        """Draw the page; without mistakes there is none."""
        data = trainer.datamodule
        if not is_image(data.sample_shape):
            trainer.print(f"ConfidentMistakes draws images, not samples of shape {data.sample_shape}")
            return
        rows, confidence = most_confident_mistakes(logits, targets)
        if not len(rows):
            trainer.print("ConfidentMistakes has none to draw: every test image is classified correctly")
            return
        title = f"{len(rows):,} of {len(targets):,} test images are wrong; the surest first"
        shown = rows[: self.num_images]
        labels = [
            f"{data.class_names[k]} {share:.0%}\nis {data.class_names[target]}"
            for k, share, target in zip(
                logits[shown].argmax(dim=1).tolist(), confidence.tolist(), targets[shown].tolist(), strict=False
            )
        ]
        publish(trainer, "confident_mistakes", page(data.test_set.samples[shown].cpu(), labels, title))


def most_confident_mistakes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers (M,) of wrong predictions, the surest first, and the probability (M,) of each."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = (predicted != targets).nonzero().flatten()
    order = confidence[wrong].argsort(descending=True)
    return wrong[order], confidence[wrong][order]


def page(images: Tensor, labels: list[str], title: str) -> Figure:
    """Images (N, C, H, W) in a grid, each under its label."""
    num_rows = math.ceil(len(images) / COLUMNS)
    figure = Figure(figsize=(1.35 * COLUMNS, 1.75 * num_rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        axes = figure.add_subplot(num_rows, COLUMNS, i + 1)
        axes.imshow(to_picture(image), cmap="gray", vmin=0, vmax=255)
        axes.set_title(label, fontsize=8)
        axes.axis("off")
    return figure

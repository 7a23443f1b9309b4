"""Which class is taken for which, on the test set."""

import lightning as L
import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.collected_logits import CollectedLogits
from callbacks.figures import PALETTE, publish

MOST_CLASSES_WITH_COUNTS = 20


class ConfusionMatrix(CollectedLogits):
    """After the test, two figures: the confusion matrix, and the accuracy of each class."""

    def draw(self, trainer: L.Trainer, logits: Tensor, targets: Tensor) -> None:
        """Draw both."""
        counts = confusion_counts(logits.argmax(dim=1), targets, logits.shape[1])
        names = trainer.datamodule.class_names
        publish(trainer, "confusion_matrix", matrix_figure(counts, names))
        publish(trainer, "class_accuracy", class_accuracy_figure(counts, names))


def confusion_counts(predicted: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Counts (C, C): rows are true classes, columns predicted ones."""
    return torch.bincount(num_classes * targets + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def matrix_figure(counts: Tensor, names: list[str]) -> Figure:
    """Counts as numbers; the colour is their share of the row."""
    num_classes = len(names)
    side = max(4.8, 0.62 * min(num_classes, MOST_CLASSES_WITH_COUNTS) + 1.6)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    if num_classes <= MOST_CLASSES_WITH_COUNTS:
        for i, j in torch.cartesian_prod(torch.arange(num_classes), torch.arange(num_classes)).tolist():
            if counts[i, j]:
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, int(counts[i, j]), ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(num_classes), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(num_classes), names)
    correct, total = int(counts.diagonal().sum()), int(counts.sum())
    title = f"Test set: {correct:,} of {total:,} right ({correct / total:.2%})"
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    return figure


def class_accuracy_figure(counts: Tensor, names: list[str]) -> Figure:
    """One bar a class, best first, and a line at the mean over all samples."""
    totals = counts.sum(dim=1)
    accuracy = counts.diagonal() / totals.clamp(min=1)
    order = accuracy.argsort(descending=True).tolist()
    figure = Figure(figsize=(6.4, max(2.4, 0.3 * len(names) + 1.0)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh([f"{names[k]} (n = {int(totals[k])})" for k in order], accuracy[order].numpy(), color=PALETTE[0])
    axes.bar_label(bars, [f"{accuracy[k]:.1%}" for k in order], label_type="center", color="white", fontsize=9)
    overall = (counts.diagonal().sum() / counts.sum()).item()
    axes.axvline(overall, color=PALETTE[5], lw=1.2, label=f"all samples, {overall:.1%}")
    axes.invert_yaxis()
    axes.set(xlabel="test accuracy", xlim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower right", frameon=False)
    return figure

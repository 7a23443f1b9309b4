"""How far back a recurrent network's loss reaches: its gradient at every step in time, and how full its units are."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from callbacks.figures import publish

SATURATED = 0.9
MAX_LINES = 7


def gradient_in_time(states: list[Tensor], logits: Tensor, targets: Tensor) -> Tensor:
    """||dL/dh_t||_2 of each sequence's own loss, averaged over the sequences: T values.

    Args:
        states: h_1 ... h_T, each (B, H), from which ``logits`` were computed.
        logits: (B, C), of the last step.
        targets: (B,).
    """
    loss = F.cross_entropy(logits, targets, reduction="sum")  # a sum: row b of a gradient is sequence b's own
    gradients = torch.autograd.grad(loss, states)
    return torch.stack([gradient.norm(dim=1).mean() for gradient in gradients])


def saturation(states: list[Tensor]) -> Tensor:
    """Share of |h_t| > 0.9, where tanh' < 0.19, over sequences and units: T values."""
    return torch.stack([(h.detach().abs() > SATURATED).float().mean() for h in states])


def spread(epochs: list[int]) -> list[int]:
    """At most ``MAX_LINES`` of the epochs, first and last included, denser at the start."""
    if len(epochs) <= MAX_LINES:
        return epochs
    ratio = len(epochs) ** (1 / (MAX_LINES - 1))
    return [epochs[i] for i in sorted({min(round(ratio**k) - 1, len(epochs) - 1) for k in range(MAX_LINES)})]


class MemoryView(Callback):
    """One figure, ``memory``: the loss's gradient at every h_t, and the share of saturated units, over training.

    A gradient that falls by orders of magnitude towards the first step has vanished: the first digit, which is the
    answer, cannot teach the weights anything. Measured on the first validation sequences before training and after
    every epoch, kept in the checkpoints, drawn when training ends. The network must be ``LitRNN``'s, with
    ``net.encode`` and ``net.rnn.states``; for another the callback says so and does nothing.

    Args:
        num_sequences: how many validation sequences, >= 1.
    """

    def __init__(self, num_sequences: int = 256):
        if num_sequences < 1:
            raise ValueError(f"num_sequences must be >= 1, got {num_sequences}")
        self.num_sequences = num_sequences
        self.gradients: dict[int, list[float]] = {}
        self.saturations: dict[int, list[float]] = {}

    def state_dict(self) -> dict[str, dict[int, list[float]]]:
        """What was measured so far, by epochs trained."""
        return {"gradients": self.gradients, "saturations": self.saturations}

    def load_state_dict(self, state_dict: dict[str, dict[int, list[float]]]) -> None:
        """Take over what a checkpoint holds."""
        self.gradients = dict(state_dict["gradients"])
        self.saturations = dict(state_dict["saturations"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the start, or take up after a resumed one."""
        recurrent = hasattr(getattr(pl_module.net, "rnn", None), "states")
        self.active = recurrent and trainer.is_global_zero and not trainer.fast_dev_run  # which leaves no files
        if not recurrent:
            trainer.print(f"MemoryView needs a recurrent network, not {type(pl_module.net).__name__}")
        if trainer.current_epoch == 0:
            self._measure(trainer, pl_module, 0)

    # The order of callbacks puts checkpoints after this, so a checkpoint holds its own epoch.
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure after an epoch."""
        self._measure(trainer, pl_module, trainer.current_epoch + 1)

    @torch.enable_grad()
    def _measure(self, trainer: L.Trainer, pl_module: L.LightningModule, epochs: int) -> None:
        if not self.active:
            return
        data = trainer.datamodule.val_set
        samples = data.samples[: self.num_sequences].to(pl_module.device)
        targets = data.targets[: self.num_sequences].to(pl_module.device)
        net = pl_module.net
        states = net.rnn.states(net.encode(samples))
        self.gradients[epochs] = gradient_in_time(states, net.rnn.readout(states[-1]), targets).tolist()
        self.saturations[epochs] = saturation(states).tolist()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw."""
        if self.gradients and self.active:
            publish(trainer, "memory", self.draw())

    def draw(self) -> Figure:
        """The figure: both measures against the step in time, one line per epoch shown."""
        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        self._lines(left, self.gradients)
        self._lines(right, self.saturations)
        left.set(
            yscale="log", ylabel=r"mean $\|\partial L / \partial h_t\|$", title="Gradient of the loss, back in time"
        )
        right.set(ylim=(-0.02, 1.02), ylabel=f"share of $|h_t| > {SATURATED}$", title="Saturated units")
        right.legend(title="epochs trained", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure

    def _lines(self, axes: Axes, values: dict[int, list[float]]) -> None:
        epochs = spread(sorted(values))
        for i, epoch in enumerate(epochs):
            steps = range(1, len(values[epoch]) + 1)
            colour = colormaps["viridis_r"](0.1 + 0.9 * i / max(len(epochs) - 1, 1))
            axes.plot(steps, values[epoch], color=colour, label=str(epoch), marker="." if len(steps) <= 30 else "")
        axes.set_xlabel("step in time $t$")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)

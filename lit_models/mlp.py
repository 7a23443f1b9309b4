"""The multi-layer perceptron in PyTorch."""

from typing import Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lit_models.classifier import LitClassifier
from lit_models.normalize import Normalize

Activation = Literal["ReLU", "Sigmoid", "Tanh", "GELU"]
Initialization = Literal["default", "xavier_uniform", "xavier_sigmoid", "kaiming_normal"]


class SigmoidHead(nn.Module):
    """One output z as two logits [0, z].

    softmax([0, z]) = [1 - sigmoid(z), sigmoid(z)], so cross-entropy on [0, z] is the binary cross-entropy of
    sigmoid(z), and everything that reads logits reads these.

    Shapes: (B, 1) -> (B, 2).
    """

    def forward(self, z: Tensor) -> Tensor:
        """(B, 1) -> (B, 2)."""
        return torch.cat([torch.zeros_like(z), z], dim=1)


def initialize(linear: nn.Linear, init: Initialization, activation: Activation) -> None:
    """Set a layer's weights in place: PyTorch's default, Glorot and Bengio (2010) or He et al. (2015).

    Glorot and Bengio assume an activation of slope 1 at zero. The sigmoid's is 1/4, so ``xavier_sigmoid`` is four times
    as large: only then does a gradient keep its size on its way down through sigmoids that are not saturated.
    """
    if init == "default":
        return
    if init in ("xavier_uniform", "xavier_sigmoid"):
        nn.init.xavier_uniform_(linear.weight, gain=4.0 if init == "xavier_sigmoid" else 1.0)
    else:
        gain = {"Sigmoid": "sigmoid", "Tanh": "tanh"}.get(activation, "relu")
        nn.init.kaiming_normal_(linear.weight, nonlinearity=gain)
    nn.init.zeros_(linear.bias)


class MLP(nn.Sequential):
    """h_0 = normalise(x), h_{l+1} = dropout(f(batch_norm(W_l h_l + b_l))), logits = W_L h_L + b_L.

    Args:
        sample_shape: shape of one sample, flattened after normalisation.
        num_classes: number of logits.
        hidden: width of each hidden layer; empty for a linear classifier.
        activation: class name in ``torch.nn``.
        dropout: probability of dropping a hidden unit, in [0, 1).
        batch_norm: normalise each hidden layer over the batch, before the activation.
        init: ``default`` (PyTorch's), ``xavier_uniform``, ``xavier_sigmoid`` (four times that) or ``kaiming_normal``;
            all but the first with zero biases.
        sigmoid_head: one output and a sigmoid instead of two logits; needs ``num_classes=2``.
        mean: of the samples, per channel or feature.
        std: likewise.

    Shapes: (B, *sample_shape) -> (B, num_classes).
    """

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        hidden: list[int],
        activation: Activation = "ReLU",
        dropout: float = 0.0,
        batch_norm: bool = False,
        init: Initialization = "default",
        sigmoid_head: bool = False,
    ):
        for i, width in enumerate(hidden):
            if width < 1:
                raise ValueError(f"hidden[{i}] must be >= 1, got {width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if sigmoid_head and num_classes != 2:
            raise ValueError(f"sigmoid_head needs num_classes = 2, got {num_classes}")
        super().__init__()
        self.append(Normalize(mean, std)).append(nn.Flatten())
        width_in = nn.Flatten()(torch.empty(1, *sample_shape)).shape[1]
        for width in hidden:
            self.append(nn.Linear(width_in, width))
            if batch_norm:
                self.append(nn.BatchNorm1d(width))
            self.append(getattr(nn, activation)())
            if dropout:
                self.append(nn.Dropout(dropout))
            width_in = width
        self.append(nn.Linear(width_in, 1 if sigmoid_head else num_classes))
        if sigmoid_head:
            self.append(SigmoidHead())
        for layer in self.linear_layers():
            initialize(layer, init, activation)

    def linear_layers(self) -> list[nn.Linear]:
        """The layers with weights, first to last."""
        return [layer for layer in self if isinstance(layer, nn.Linear)]


class LitMLP(LitClassifier):
    """An :class:`MLP` with its training; arguments as in :class:`MLP` and :class:`LitClassifier`."""

    net: MLP

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        hidden: list[int],
        activation: Activation = "ReLU",
        dropout: float = 0.0,
        batch_norm: bool = False,
        init: Initialization = "default",
        sigmoid_head: bool = False,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__(sample_shape, num_classes, mean, std, optimizer, lr_scheduler, lr_interval, label_smoothing)
        self.net = MLP(
            sample_shape, num_classes, mean, std, hidden, activation, dropout, batch_norm, init, sigmoid_head
        )

"""The vanilla recurrent network, written from its equations."""

import math
from collections import OrderedDict
from typing import Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lit_models.classifier import LitClassifier
from lit_models.normalize import Normalize

Encoding = Literal["one_hot", "scalar"]
RecurrentInit = Literal["default", "normal", "orthogonal", "identity", "latch"]


class OneHot(nn.Module):
    """A digit k as the k-th unit vector of ``num_digits`` components.

    Shapes: (B, T) -> (B, T, num_digits).
    """

    def __init__(self, num_digits: int):
        super().__init__()
        self.num_digits = num_digits

    def forward(self, x: Tensor) -> Tensor:
        """(B, T) -> (B, T, num_digits)."""
        return F.one_hot(x.long(), self.num_digits).float()


class VanillaRNN(nn.Module):
    """h_t = tanh(W_hx x_t + W_hh h_{t-1} + b_h) with h_0 = 0, then logits = W_ph h_T + b_o (Elman, 1990).

    The concatenated form h_t = tanh(W [x_t, h_{t-1}] + b_h) is the same function with W = [W_hx, W_hh].

    Initialisations, all with zero biases but the first:

    - ``default``: everything uniform in ±1/sqrt(H), as ``torch.nn.RNN``.
    - ``normal``: weights N(0, 1/H).
    - ``orthogonal``: W_hh a random rotation (Saxe et al., 2014), the other weights uniform in ±1/sqrt(H).
    - ``identity``: W_hh = I (Le et al., 2015, for ReLU), the other weights uniform in ±1/sqrt(H).
    - ``latch``: **designed, not learnt**: W_hh = 3 I and W_hx uniform in ±0.5. Each unit alone has two stable
      states, h = ±0.995, that no later input can leave, so it keeps the sign of what it read first. Only the
      readout is left to learn.

    Args:
        num_inputs: components D of an input.
        num_classes: number of logits C.
        hidden: units H, >= 1.
        init: see above.
        recurrent_gain: multiplies the initial W_hh. Above 1 a small state grows until tanh bounds it, so what was
            read first outgrows what is read later.
        input_scale: W_hx starts uniform in ±input_scale; None keeps what ``init`` says.

    Shapes: (B, T, D) -> (B, C), for any T >= 1.

    Raises:
        ValueError: an argument is out of its bounds.
    """

    def __init__(
        self,
        num_inputs: int,
        num_classes: int,
        hidden: int = 128,
        init: RecurrentInit = "default",
        recurrent_gain: float = 1.0,
        input_scale: float | None = None,
    ):
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be >= 1, got {hidden}")
        if not recurrent_gain > 0:
            raise ValueError(f"recurrent_gain must be > 0, got {recurrent_gain}")
        if input_scale is not None and not input_scale > 0:
            raise ValueError(f"input_scale must be > 0, got {input_scale}")
        self.w_hx = nn.Parameter(torch.empty(hidden, num_inputs))
        self.w_hh = nn.Parameter(torch.empty(hidden, hidden))
        self.b_h = nn.Parameter(torch.empty(hidden))
        self.w_ph = nn.Parameter(torch.empty(num_classes, hidden))
        self.b_o = nn.Parameter(torch.empty(num_classes))
        self.initialize(init, recurrent_gain, input_scale)

    @torch.no_grad()
    def initialize(self, init: RecurrentInit, recurrent_gain: float, input_scale: float | None) -> None:
        """Set all parameters in place."""
        bound = 1 / math.sqrt(len(self.w_hh))
        for parameter in self.parameters():
            if init == "normal":
                nn.init.normal_(parameter, std=bound)
            else:
                nn.init.uniform_(parameter, -bound, bound)
        if init != "default":
            nn.init.zeros_(self.b_h)
            nn.init.zeros_(self.b_o)
        if init == "orthogonal":
            nn.init.orthogonal_(self.w_hh)
        elif init == "identity":
            nn.init.eye_(self.w_hh)
        elif init == "latch":
            self.w_hh.copy_(3 * torch.eye(len(self.w_hh)))
            nn.init.uniform_(self.w_hx, -0.5, 0.5)
        self.w_hh *= recurrent_gain
        if input_scale is not None:
            nn.init.uniform_(self.w_hx, -input_scale, input_scale)

    def states(self, x: Tensor) -> list[Tensor]:
        """h_1 ... h_T, each (B, H), of inputs (B, T, D)."""
        xw = F.linear(x.transpose(0, 1), self.w_hx, self.b_h)  # (T, B, H), all steps at once
        first, *rest = xw.unbind()  # backward stacks once, where xw[t] would fill a (T, B, H) at every step
        h = torch.tanh(first)  # h_0 = 0
        states = [h]
        for xw_t in rest:
            h = torch.addmm(xw_t, h, self.w_hh.T).tanh_()  # (B, H)
            states.append(h)
        return states

    def readout(self, h: Tensor) -> Tensor:
        """(B, H) -> logits (B, C)."""
        return F.linear(h, self.w_ph, self.b_o)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> logits (B, C), from the last state alone."""
        return self.readout(self.states(x)[-1])


class LitRNN(LitClassifier):
    """A :class:`VanillaRNN` that reads digits (B, T), with its training by the cross-entropy of the last step.

    The weights do not depend on T. Clip the gradient's norm with ``trainer.gradient_clip_val``.

    Args:
        sample_shape: ``[T]``; linked from the data.
        num_classes: number of different digits; linked from the data.
        mean: of a digit, one value, used by the scalar encoding; linked from the data.
        std: likewise.
        hidden: as in :class:`VanillaRNN`.
        encoding: ``one_hot`` reads a digit as a unit vector (D = num_classes), ``scalar`` as a number (D = 1).
        init: as in :class:`VanillaRNN`, like the two that follow.
        recurrent_gain: see there.
        input_scale: see there.
        optimizer: as in :class:`LitClassifier`, like the three that follow.
        lr_scheduler: see there.
        lr_interval: see there.
        label_smoothing: see there.

    Raises:
        ValueError: an argument is out of its bounds, or the data are no sequences of digits.
    """

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        hidden: int = 128,
        encoding: Encoding = "one_hot",
        init: RecurrentInit = "default",
        recurrent_gain: float = 1.0,
        input_scale: float | None = None,
        optimizer: OptimizerCallable = torch.optim.RMSprop,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__(sample_shape, num_classes, mean, std, optimizer, lr_scheduler, lr_interval, label_smoothing)
        if len(sample_shape) != 1:
            raise ValueError(f"LitRNN reads sequences of digits, sample_shape [T], got {list(sample_shape)}")
        if encoding == "one_hot":
            encode, num_inputs = OneHot(num_classes), num_classes
        else:
            encode, num_inputs = nn.Sequential(Normalize(mean, std), nn.Unflatten(1, (-1, 1))), 1
        rnn = VanillaRNN(num_inputs, num_classes, hidden, init, recurrent_gain, input_scale)
        self.net = nn.Sequential(OrderedDict(encode=encode, rnn=rnn))

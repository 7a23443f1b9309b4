"""Learning-rate schedules that ``torch.optim.lr_scheduler`` lacks."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class Warmup(LambdaLR):
    """lr · (t + 1) / (warmup + 1) for t < warmup, then lr · :meth:`decay` of the share of the rest that is over.

    Time is counted in epochs, or in steps with ``lr_interval: step``. After ``total`` the rate stays 0. Each
    parameter group keeps its own rate's multiple.

    Args:
        optimizer: whose rates are changed.
        warmup: length of the linear rise, >= 0.
        total: length of the training, > warmup.
    """

    def __init__(self, optimizer: Optimizer, warmup: int, total: int):
        if warmup < 0:
            raise ValueError(f"warmup must be >= 0, got {warmup}")
        if total <= warmup:
            raise ValueError(f"total must be > warmup = {warmup}, got {total}")
        self.warmup = warmup
        self.total = total
        super().__init__(optimizer, self.factor)

    def factor(self, t: int) -> float:
        """The share of the optimiser's rate that is used at time t."""
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        return self.decay(min((t - self.warmup) / (self.total - self.warmup), 1.0))

    def decay(self, progress: float) -> float:
        """From 1 at progress 0 to 0 at progress 1."""
        raise NotImplementedError


class WarmupCosine(Warmup):
    """:class:`Warmup`, then (1 + cos(π progress)) / 2."""

    def decay(self, progress: float) -> float:
        """Half a cosine."""
        return (1 + math.cos(math.pi * progress)) / 2


class WarmupLinear(Warmup):
    """:class:`Warmup`, then 1 - progress."""

    def decay(self, progress: float) -> float:
        """A straight line."""
        return 1 - progress

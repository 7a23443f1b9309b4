"""The first layer of every network: raw samples in, normalised floats out."""

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std per channel or feature, from buffers, so that it travels in the checkpoint.

    uint8 samples count as x / 255, so ``mean`` and ``std`` of images are in units of full intensity.

    Args:
        mean: one value per channel (C) or feature (D).
        std: likewise, each > 0.

    Shapes: (B, C, ...) uint8 or float -> (B, C, ...) float of the buffers' dtype.
    """

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must have one length, got {len(mean)} and {len(std)}")
        for i, value in enumerate(std):
            if not value > 0:
                raise ValueError(f"std[{i}] must be > 0, got {value}")
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...) normalised."""
        per_channel = (1, -1) + (1,) * (x.ndim - 2)
        unit = 255.0 if x.dtype == torch.uint8 else 1.0
        scale = 1 / (unit * self.std)
        shift = -self.mean / self.std
        return torch.addcmul(shift.view(per_channel), x.to(self.mean.dtype), scale.view(per_channel))

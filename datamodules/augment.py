"""Augmentation of a whole batch at once, each sample with random numbers of its own, on the batch's device.

Every class maps (images (B, C, H, W) uint8 or float, targets (B,)) to the same of changed images, the calling
convention of ``torchvision.transforms.v2``, whose transforms may stand in the same list. Those, however, draw one
set of parameters a call; :class:`PerSample` gives each image its own.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms import v2


class HorizontalFlip(nn.Module):
    """Mirrors each image left to right with probability ``p``.

    Args:
        p: probability, in [0, 1].
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be in [0, 1], got {p}")
        self.p = p

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W)."""
        mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < self.p
        return torch.where(mirrored, images.flip(3), images), targets


class RandomCrop(nn.Module):
    """Pads each side and cuts a window of the old size at a random place, one for each image.

    Args:
        padding: pixels on each side, >= 1.
        mode: ``zeros`` (black) or ``reflect``.
    """

    def __init__(self, padding: int = 4, mode: Literal["zeros", "reflect"] = "zeros"):
        super().__init__()
        if padding < 1:
            raise ValueError(f"padding must be >= 1, got {padding}")
        if mode not in ("zeros", "reflect"):
            raise ValueError(f"mode must be zeros or reflect, got {mode}")
        self.padding = padding
        self.mode = mode

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = images.shape
        if self.padding >= min(height, width):
            raise ValueError(f"padding must be < the image's side, {min(height, width)}, got {self.padding}")
        offsets = torch.randint(-self.padding, self.padding + 1, (2, batch), device=images.device)
        rows = offsets[0, :, None] + torch.arange(height, device=images.device)  # (B, H), may lie outside the image
        columns = offsets[1, :, None] + torch.arange(width, device=images.device)  # (B, W)
        sample = torch.arange(batch, device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[:, None, None]
        cut = images[sample, channel, _mirror(rows, height)[:, None, :, None], _mirror(columns, width)[:, None, None]]
        if self.mode == "zeros":
            inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None]
            cut = cut * inside
        return cut, targets


def _mirror(index: Tensor, size: int) -> Tensor:
    """-1 -> 1 and size -> size - 2: reflection about the edge pixel, which is not repeated."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _within(index: Tensor, size: int) -> Tensor:
    return (index >= 0) & (index < size)


class Cutout(nn.Module):
    """Blackens a square whose centre is anywhere in the image, one place for each image.

    Source: T. DeVries and G. Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017.

    Args:
        size: side of the square in pixels, >= 1; what falls outside the image is lost.
    """

    def __init__(self, size: int = 8):
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be >= 1, got {size}")
        self.size = size

    def _covered(self, length: int, batch: int, device: torch.device) -> Tensor:
        first = torch.randint(0, length, (batch, 1), device=device) - self.size // 2
        index = torch.arange(length, device=device)
        return (index >= first) & (index < first + self.size)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, _, height, width = images.shape
        rows = self._covered(height, batch, images.device)[:, None, :, None]
        columns = self._covered(width, batch, images.device)[:, None, None, :]
        return images.masked_fill(rows & columns, 0), targets


class PerSample(nn.Module):
    """Applies a transform of ``torchvision.transforms.v2`` to each image by itself, so that each draws anew.

    Costs one call an image: for small data, or for few images a step.

    Args:
        transform: changes an image (C, H, W) and keeps its shape; ``v2.RandomAffine``, for one.
    """

    def __init__(self, transform: nn.Module):
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W)."""
        return torch.stack([self.transform(image) for image in images]), targets


class MixUp(nn.Module):
    """Blends each image with another of the batch by ``torchvision.transforms.v2.MixUp``; one share for the batch.

    Images become floats in [0, 1]; targets become class probabilities (B, num_classes).

    Source: H. Zhang et al., "mixup: Beyond empirical risk minimization", 2018.

    Args:
        num_classes: number of classes.
        alpha: of the Beta distribution that the share comes from, > 0.
    """

    def __init__(self, num_classes: int, alpha: float = 0.2):
        super().__init__()
        if alpha <= 0:
            raise ValueError(f"alpha must be > 0, got {alpha}")
        self.blend = v2.MixUp(alpha=alpha, num_classes=num_classes)

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W), (B,) -> (B, C, H, W), (B, num_classes)."""
        return self.blend(v2.functional.to_dtype(images, torch.float32, scale=True), targets)

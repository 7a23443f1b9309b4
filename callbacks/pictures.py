"""Tensors as pictures: one image, or many in one grid."""

import math

import numpy as np
import torch
from torch import Tensor


def is_image(sample_shape: list[int]) -> bool:
    """Whether samples of this shape are grey or colour images (C, H, W)."""
    return len(sample_shape) == 3 and sample_shape[0] in (1, 3)


def to_picture(image: Tensor) -> np.ndarray:
    """(1, H, W) -> (H, W); (3, H, W) -> (H, W, 3)."""
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).numpy()


def grid(images: Tensor, columns: int) -> np.ndarray:
    """Images (N, C, H, W) in [0, 1], row by row in one picture with white lines between.

    Returns:
        (rows (H + 1) + 1, columns (W + 1) + 1, C), without the last axis if C = 1.
    """
    num, channels, height, width = images.shape
    rows = math.ceil(num / columns)
    picture = torch.ones(channels, rows * (height + 1) + 1, columns * (width + 1) + 1)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 1) + 1, (i % columns) * (width + 1) + 1
        picture[:, top : top + height, left : left + width] = image
    return to_picture(picture)

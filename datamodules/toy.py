"""Points in the plane: moons, circles and blobs drawn by scikit-learn, and the four points of XOR."""

import numpy as np
import torch
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader

from datamodules.in_memory import InMemoryDataModule, InMemoryDataset


def _as_dataset(points: np.ndarray, labels: np.ndarray) -> InMemoryDataset:
    return InMemoryDataset(torch.from_numpy(points).float(), torch.from_numpy(labels).long())


class ToyDataModule(InMemoryDataModule):
    """``num_samples`` points (2,) float32 of two or three classes, drawn once and split at random, stratified.

    Args:
        num_samples: points in all.
        noise: standard deviation of the Gaussian noise, in the plane's units.
        seed: of the draw and of the split; not the training seed.
        split: shares of the training, validation and test points; they sum to 1.
        standardize: let the network subtract the training points' mean and divide by their standard deviation.
        batch_size: training points per step.
    """

    num_classes = 2

    def __init__(
        self,
        num_samples: int = 1000,
        noise: float = 0.1,
        seed: int = 42,
        split: list[float] = (0.7, 0.1, 0.2),
        standardize: bool = False,
        batch_size: int = 32,
    ):
        super().__init__(batch_size)
        if num_samples < 10:
            raise ValueError(f"num_samples must be >= 10, got {num_samples}")
        if noise < 0:
            raise ValueError(f"noise must be >= 0, got {noise}")
        if len(split) != 3 or min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"split must be three shares > 0 that sum to 1, got {list(split)}")
        self.num_samples = num_samples
        self.noise = noise
        self.seed = seed
        self.split = list(split)
        self.sample_shape = [2]
        self.class_names = [f"class {k}" for k in range(self.num_classes)]
        points, labels = self.draw()
        train, rest = self._split(np.arange(num_samples), labels, split[0])
        val, test = self._split(rest, labels, split[1] / (split[1] + split[2]))
        self._datasets = tuple(_as_dataset(points[i], labels[i]) for i in (train, val, test))
        train_points = points[train]
        self.mean = train_points.mean(axis=0).tolist() if standardize else [0.0, 0.0]
        self.std = train_points.std(axis=0).tolist() if standardize else [1.0, 1.0]

    def _split(self, indices: np.ndarray, labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
        return train_test_split(indices, train_size=share, random_state=self.seed, stratify=labels[indices])

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the points (N, 2) and the labels (N,)."""
        raise NotImplementedError

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The points drawn at construction."""
        return self._datasets


class MoonsDataModule(ToyDataModule):
    """Two interleaved half circles, ``sklearn.datasets.make_moons``; arguments as in :class:`ToyDataModule`."""

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Two moons of radius 1."""
        return make_moons(self.num_samples, noise=self.noise, random_state=self.seed)


class CirclesDataModule(ToyDataModule):
    """A circle of radius 0.5 in one of radius 1, ``make_circles``; arguments as in :class:`ToyDataModule`."""

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Two circles."""
        return make_circles(self.num_samples, noise=self.noise, factor=0.5, random_state=self.seed)


class BlobsDataModule(ToyDataModule):
    """Three Gaussian blobs, ``make_blobs``; ``noise`` is their standard deviation, the rest as in ToyDataModule."""

    num_classes = 3

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Three blobs whose centres the seed draws in a square of side 20."""
        return make_blobs(self.num_samples, centers=self.num_classes, cluster_std=self.noise, random_state=self.seed)


class XORDataModule(InMemoryDataModule):
    """The four points of XOR at the corners of the unit square, sample (2,) float32.

    The task is to fit these four points, so training, validation and test set are the same four: the only data
    set of the project whose parts overlap. Each training step takes all four.

    Args:
        steps_per_epoch: training steps between two looks at the validation accuracy.
    """

    def __init__(self, steps_per_epoch: int = 20):
        super().__init__(batch_size=4)
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be >= 1, got {steps_per_epoch}")
        self.steps_per_epoch = steps_per_epoch
        self.sample_shape = [2]
        self.num_classes = 2
        self.class_names = ["0", "1"]
        self.mean = [0.0, 0.0]
        self.std = [1.0, 1.0]

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The same four points three times."""
        points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        four = _as_dataset(points, points[:, 0] ^ points[:, 1])
        return four, four, four

    def train_dataloader(self) -> DataLoader:
        """The full batch, ``steps_per_epoch`` times; nothing to shuffle."""
        return self._loader(self.train_set, [0, 1, 2, 3] * self.steps_per_epoch, self.batch_size)

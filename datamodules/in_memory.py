"""Data held in memory as tensors: one indexing operation a batch, in an order that depends on (seed, epoch)."""

import os
from collections.abc import Iterable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class DataError(Exception):
    """The data on disk are missing, damaged or unfit; the message says which and what to do."""


class InMemoryDataset(Dataset):
    """Samples (N, *sample_shape) and targets (N,), fetched a whole batch at a time.

    ``DataLoader`` hands ``__getitems__`` all indices of a batch, so a batch costs two indexing operations instead
    of one Python call, one transform and one copy per sample.
    """

    def __init__(self, samples: Tensor, targets: Tensor):
        if len(samples) != len(targets):
            raise ValueError(f"samples and targets must have one length, got {len(samples)} and {len(targets)}")
        self.samples = samples
        self.targets = targets

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.samples[index], self.targets[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(indices)
        return self.samples[index], self.targets[index]


def as_fetched(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The ``collate_fn`` of a batch that arrives whole."""
    return batch


class InMemoryDataModule(L.LightningDataModule):
    """Three data sets in memory that never overlap, and their loaders.

    A child sets ``sample_shape``, ``num_classes``, ``class_names``, ``mean`` and ``std`` when it is constructed,
    and returns the data sets from :meth:`load`.

    The training order of an epoch is a function of (``seed_everything``'s seed, epoch); under several processes
    each takes every n-th sample of that order. Validation and test samples are shared out without repeats.

    Args:
        batch_size: training samples per step and process.
        eval_batch_size: validation, test and prediction samples per step and process.
    """

    sample_shape: list[int]
    num_classes: int
    class_names: list[str]
    mean: list[float]
    std: list[float]

    def __init__(self, batch_size: int, eval_batch_size: int = 1024):
        super().__init__()
        for name, value in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.train_set: InMemoryDataset | None = None

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """Return the training, validation and test set; called once per process."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Load the three data sets, once."""
        if self.train_set is None:
            self.train_set, self.val_set, self.test_set = self.load()

    def state_dict(self) -> dict[str, list[str]]:
        """The class names, which a checkpoint carries so that it can be used without its data."""
        return {"class_names": list(self.class_names)}

    def train_dataloader(self) -> DataLoader:
        """Shuffled by (seed, epoch)."""
        world_size, rank = self._world()
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        sampler = DistributedSampler(self.train_set, num_replicas=world_size, rank=rank, seed=seed)
        return self._loader(self.train_set, sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader:
        """In order."""
        return self._eval_loader(self.val_set)

    def test_dataloader(self) -> DataLoader:
        """In order."""
        return self._eval_loader(self.test_set)

    def predict_dataloader(self) -> DataLoader:
        """The test set, in order."""
        return self._eval_loader(self.test_set)

    def _eval_loader(self, dataset: InMemoryDataset) -> DataLoader:
        world_size, rank = self._world()
        return self._loader(dataset, range(rank, len(dataset), world_size), self.eval_batch_size)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, dataset: InMemoryDataset, sampler: Iterable[int], batch_size: int) -> DataLoader:
        return DataLoader(dataset, batch_size=batch_size, sampler=sampler, collate_fn=as_fetched)

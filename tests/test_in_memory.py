"""The in-memory loader: batches, the order of an epoch, and how ranks share samples."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import default_collate

from datamodules import BlobsDataModule, InMemoryDataset


def numbered(n: int = 103, **kwargs) -> BlobsDataModule:
    """A data module whose samples are their own index."""
    data = BlobsDataModule(num_samples=100, **kwargs)
    datasets = (InMemoryDataset(torch.arange(n), torch.arange(n)) for _ in range(3))
    data.train_set, data.val_set, data.test_set = datasets
    return data


def indices(loader) -> list[int]:
    return [int(i) for samples, _ in loader for i in samples]


def on_rank(data, rank: int, world_size: int):
    data.trainer = SimpleNamespace(world_size=world_size, global_rank=rank)
    return data


def test_a_batch_equals_its_samples_collated_one_by_one():
    dataset = InMemoryDataset(torch.randn(10, 3), torch.arange(10))
    picked = [7, 0, 3]
    samples, targets = dataset.__getitems__(picked)
    expected_samples, expected_targets = default_collate([dataset[i] for i in picked])
    assert torch.equal(samples, expected_samples)
    assert torch.equal(targets, expected_targets)


def test_order_depends_on_seed_and_epoch_alone(monkeypatch):
    def order(seed: int, epoch: int) -> list[int]:
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        torch.manual_seed(torch.seed() % 1000)
        loader = numbered(batch_size=10).train_dataloader()
        loader.sampler.set_epoch(epoch)
        return indices(loader)

    assert order(1, 5) == order(1, 5)
    assert sorted(order(1, 5)) == list(range(103))
    assert order(1, 5) != order(1, 6)
    assert order(1, 5) != order(2, 5)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_train_on_disjoint_parts_of_one_order(world_size):
    parts = [indices(on_rank(numbered(102), rank, world_size).train_dataloader()) for rank in range(world_size)]
    alone = indices(numbered(102).train_dataloader())
    assert [i for step in zip(*parts, strict=True) for i in step] == alone


@pytest.mark.parametrize("loader", ["val_dataloader", "test_dataloader", "predict_dataloader"])
def test_ranks_measure_every_sample_exactly_once(loader):
    parts = [indices(getattr(on_rank(numbered(), rank, 4), loader)()) for rank in range(4)]
    assert sorted(i for part in parts for i in part) == list(range(103))


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        BlobsDataModule(batch_size=0)


def test_samples_and_targets_must_agree():
    with pytest.raises(ValueError, match="one length, got 3 and 2"):
        InMemoryDataset(torch.zeros(3), torch.zeros(2))

"""Points in the plane: what is drawn, how it is split."""

import numpy as np
import pytest
import torch

from datamodules import BlobsDataModule, CirclesDataModule, MoonsDataModule, XORDataModule

TOYS = [MoonsDataModule, CirclesDataModule, BlobsDataModule]


def parts(data):
    data.setup()
    return data.train_set, data.val_set, data.test_set


@pytest.mark.parametrize("toy", TOYS)
def test_the_three_parts_cover_the_draw_and_never_overlap(toy):
    data = toy(num_samples=600, split=[0.5, 0.2, 0.3])
    sets = parts(data)
    assert [len(s) for s in sets] == [300, 120, 180]
    together = {tuple(point.tolist()) for s in sets for point in s.samples}
    drawn = {tuple(point) for point in data.draw()[0].astype(np.float32).tolist()}
    assert together == drawn
    assert len(together) == 600


@pytest.mark.parametrize("toy", TOYS)
def test_each_part_holds_the_classes_in_equal_shares(toy):
    for part in parts(toy(num_samples=600)):
        counts = part.targets.bincount()
        assert len(counts) == toy.num_classes
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("toy", TOYS)
def test_the_draw_depends_on_its_own_seed_and_not_on_the_training_seed(toy):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = toy(seed=3)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert torch.equal(parts(first)[0].samples, parts(toy(seed=3))[0].samples)
    assert not torch.equal(parts(first)[0].samples, parts(toy(seed=4))[0].samples)


def test_noise_free_moons_lie_on_two_half_circles():
    train, _, _ = parts(MoonsDataModule(noise=0.0))
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[train.targets]
    torch.testing.assert_close((train.samples - centres).norm(dim=1), torch.ones(len(train)))


def test_standardisation_is_fitted_on_the_training_part_only():
    data = BlobsDataModule(noise=1.0, standardize=True)
    train, _, test = parts(data)
    assert data.mean == pytest.approx(train.samples.mean(dim=0).tolist(), rel=1e-5)
    assert data.std == pytest.approx(train.samples.std(dim=0, correction=0).tolist(), rel=1e-5)
    assert data.mean != pytest.approx(torch.cat([train.samples, test.samples]).mean(dim=0).tolist(), rel=1e-5)


def test_xor_is_its_truth_table():
    train, val, test = parts(XORDataModule())
    table = {tuple(point.int().tolist()): int(label) for point, label in zip(*train[:], strict=True)}
    assert table == {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0}
    assert train is val is test


def test_every_xor_step_sees_all_four_points():
    data = XORDataModule(steps_per_epoch=3)
    data.setup()
    batches = [sorted(map(tuple, samples.tolist())) for samples, _ in data.train_dataloader()]
    assert batches == [[(0, 0), (0, 1), (1, 0), (1, 1)]] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -0.1}, "noise must be >= 0, got -0.1"),
        ({"num_samples": 3}, "num_samples must be >= 10, got 3"),
        ({"split": [0.5, 0.5, 0.0]}, "split must be three shares > 0 that sum to 1"),
        ({"split": [0.5, 0.4, 0.2]}, "split must be three shares > 0 that sum to 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MoonsDataModule(**arguments)

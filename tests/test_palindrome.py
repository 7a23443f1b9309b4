"""Palindromes: what they are, that the splits never share one, and that an epoch is a function of (seed, epoch)."""

import time

import pytest
import torch
from torch import Tensor

from datamodules import PalindromeDataModule


def loaded(**arguments) -> PalindromeDataModule:
    data = PalindromeDataModule(**arguments)
    data.setup()
    return data


def whole(dataset) -> Tensor:
    return torch.cat([dataset.samples, dataset.targets.unsqueeze(1)], dim=1)


def first_halves(dataset) -> set[tuple[int, ...]]:
    digits = whole(dataset)
    return {tuple(row) for row in digits[:, : (digits.shape[1] + 1) // 2].tolist()}


@pytest.mark.parametrize("length", [3, 4, 5, 30, 501])
def test_every_sequence_is_a_palindrome_without_its_last_digit(length):
    data = loaded(length=length, num_sequences=1000)
    for dataset in (data.train_set, data.val_set, data.test_set):
        digits = whole(dataset)
        assert dataset.samples.shape[1:] == (length - 1,)
        assert torch.equal(digits, digits.flip(dims=[1]))
        assert torch.equal(dataset.samples[:, 0], dataset.targets)


@pytest.mark.parametrize("length", [3, 4, 5, 8, 30])
@pytest.mark.parametrize("fresh", [False, True])
def test_splits_differ_in_their_first_halves(length, fresh):
    data = loaded(length=length, num_sequences=20_000, fresh=fresh)
    train, val, test = (first_halves(dataset) for dataset in (data.train_set, data.val_set, data.test_set))
    if fresh:
        for epoch in range(1, 4):
            data.train_set.redraw(epoch)
            train |= first_halves(data.train_set)
    assert not train & val
    assert not train & test
    assert not val & test


def test_at_length_3_the_sets_share_out_all_100_first_halves():
    data = loaded(length=3, num_sequences=20_000)
    assert [len(first_halves(d)) for d in (data.train_set, data.val_set, data.test_set)] == [80, 10, 10]


@pytest.mark.parametrize("length", [3, 5, 30])
def test_every_digit_of_every_split_is_uniform(length):
    data = loaded(length=length, num_sequences=100_000, split=[0.4, 0.3, 0.3])
    for dataset in (data.train_set, data.val_set, data.test_set):
        digits = whole(dataset)
        expected = len(digits) / 10
        for t in range(length):
            counts = digits[:, t].bincount(minlength=10).double()
            chi_squared = ((counts - expected) ** 2 / expected).sum()  # 9 degrees of freedom: mean 9, deviation 4.2
            assert chi_squared < 35


def test_the_draw_is_a_function_of_the_seed_alone():
    first = loaded(length=9, num_sequences=100)
    torch.manual_seed(1)
    again, other = loaded(length=9, num_sequences=100), loaded(length=9, num_sequences=100, seed=1)
    for name in ("train_set", "val_set", "test_set"):
        assert torch.equal(whole(getattr(first, name)), whole(getattr(again, name)))
        assert not torch.equal(whole(getattr(first, name)), whole(getattr(other, name)))


def epoch_of(data: PalindromeDataModule, epoch: int) -> Tensor:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return torch.cat([samples for samples, _ in loader])


def test_a_fresh_epoch_is_new_and_a_function_of_seed_and_epoch():
    data = loaded(length=9, num_sequences=1000, fresh=True)
    before, third = epoch_of(data, 0), epoch_of(data, 3)
    assert not torch.equal(before, third)
    assert torch.equal(epoch_of(loaded(length=9, num_sequences=1000, fresh=True), 3), third)


def test_ranks_share_out_a_fresh_epoch():
    class World:
        world_size = 2

        def __init__(self, rank: int):
            self.global_rank = rank

    single = epoch_of(loaded(length=9, num_sequences=1000, fresh=True), 2)
    parts = []
    for rank in range(2):
        data = loaded(length=9, num_sequences=1000, fresh=True)
        data.trainer = World(rank)
        parts.append(epoch_of(data, 2))
    assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), single)


def test_a_curriculum_lengthens_the_training_sequences_alone():
    data = loaded(length=40, num_sequences=100, fresh=True, start_length=8, length_growth=1.5)
    assert data.val_set.samples.shape[1] == data.test_set.samples.shape[1] == 39
    lengths = []
    for epoch in range(30):
        data.train_set.redraw(epoch)
        digits = whole(data.train_set)
        assert torch.equal(digits, digits.flip(dims=[1]))
        longest = min(40, 8 * 1.5**epoch)
        assert longest // 2 <= digits.shape[1] <= round(longest)
        lengths.append(digits.shape[1])
    assert len(set(lengths)) > 10
    assert not first_halves(data.train_set) & first_halves(data.test_set)


def test_another_base_uses_its_digits():
    data = loaded(length=5, num_sequences=1000, base=3)
    assert whole(data.train_set).unique().tolist() == [0, 1, 2]
    assert (data.num_classes, data.class_names) == (3, ["0", "1", "2"])


def test_100_000_sequences_of_30_digits_take_well_under_a_second():
    start = time.perf_counter()
    loaded(length=30, num_sequences=100_000)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "length must be >= 3, got 1"),
        ({"length": 2}, "length must be >= 3, got 2"),
        ({"base": 2}, "base must be >= 3, got 2"),
        ({"num_sequences": 9}, "num_sequences must be >= 10, got 9"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ({"start_length": 4}, r"start_length needs fresh and must be in \[3, length = 5\], got 4"),
        ({"start_length": 6, "fresh": True}, r"must be in \[3, length = 5\], got 6"),
        ({"length_growth": 0.9}, "length_growth must be >= 1, got 0.9"),
        ({"split": [0.8, 0.2]}, r"split must be three shares > 0 that sum to 1, got \[0.8, 0.2\]"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PalindromeDataModule(**arguments)

"""Digits and MNIST: whole files, honest splits, uint8 until the network."""

import hashlib
import struct

import pytest
import torch
from sklearn.datasets import load_digits
from torchvision import datasets

from datamodules import DataError, DigitsDataModule, FashionMNISTDataModule, MNISTDataModule
from datamodules.images import check_idx_file


def write_idx(path, *sizes: int, missing_bytes: int = 0):
    count = 1
    for size in sizes:
        count *= size
    content = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(count)
    path.write_bytes(content[: len(content) - missing_bytes])
    return path


def test_digits_are_scikit_learns_in_disjoint_parts():
    data = DigitsDataModule()
    data.setup()
    parts = [data.train_set, data.val_set, data.test_set]
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert all(part.samples.dtype == torch.uint8 and part.samples.shape[1:] == (1, 8, 8) for part in parts)
    pixels, labels = load_digits(return_X_y=True)
    ours = torch.cat([torch.cat([part.samples.flatten(1), part.targets[:, None]], dim=1) for part in parts])
    theirs = torch.cat([torch.tensor(pixels * 255 / 16).round(), torch.tensor(labels)[:, None]], dim=1).long()
    assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_digits_are_normalised_by_the_training_part():
    data = DigitsDataModule()
    data.setup()
    train = data.train_set.samples / 255
    assert data.mean == [pytest.approx(train.mean().item())]
    assert data.std == [pytest.approx(train.std().item())]


def test_digits_split_seed_moves_samples_between_parts():
    first, second = DigitsDataModule(), DigitsDataModule(split_seed=1)
    first.setup()
    second.setup()
    assert not torch.equal(first.test_set.samples, second.test_set.samples)


def test_digits_split_must_be_shares():
    with pytest.raises(ValueError, match="three shares > 0 that sum to 1"):
        DigitsDataModule(split=[0.9, 0.2, -0.1])


def test_a_whole_idx_file_passes(tmp_path):
    path = write_idx(tmp_path / "images", 5, 4, 3)
    check_idx_file(path, hashlib.md5(path.read_bytes()).hexdigest())


def test_a_truncated_file_is_named_with_both_sizes(tmp_path):
    path = write_idx(tmp_path / "train-images-idx3-ubyte", 5, 4, 3, missing_bytes=7)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is damaged: 69 bytes, expected 76: delete it"):
        check_idx_file(path, None)


def test_a_changed_byte_is_found_by_md5(tmp_path):
    path = write_idx(tmp_path / "labels", 5)
    with pytest.raises(DataError, match="labels is damaged: its MD5 is not 0000"):
        check_idx_file(path, "0000")


@pytest.mark.parametrize("content", [b"", b"ab", b"\0\0\x08\x03\0\0"])
def test_a_file_without_a_header_is_no_idx_file(tmp_path, content):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"is no IDX file \\({len(content)} bytes\\)"):
        check_idx_file(path, None)


@pytest.mark.parametrize("data_class", [MNISTDataModule, FashionMNISTDataModule])
def test_without_data_and_network_the_way_out_is_named_and_nothing_is_left(
    tmp_path, tmp_path_factory, monkeypatch, data_class
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def no_network(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    with pytest.raises(DataError, match=r"could not be downloaded .* --data DigitsDataModule"):
        data_class(root=str(tmp_path / "data")).prepare_data()
    assert not list(tmp_path.iterdir())


def test_root_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("PATH_DATASETS", "/somewhere")
    assert str(MNISTDataModule().raw_folder) == "/somewhere/MNIST/raw"
    monkeypatch.delenv("PATH_DATASETS")
    assert str(FashionMNISTDataModule().raw_folder) == "data/FashionMNIST/raw"


@pytest.mark.real_data
def test_mnist_is_split_55000_5000_10000_without_overlap(mnist_root):
    data = MNISTDataModule(root=mnist_root)
    data.prepare_data()
    data.setup()
    assert [len(part) for part in (data.train_set, data.val_set, data.test_set)] == [55000, 5000, 10000]
    original = datasets.MNIST(mnist_root, train=True)
    ours = torch.cat([data.train_set.targets, data.val_set.targets]).bincount()
    assert torch.equal(ours, original.targets.bincount())
    total = sum(part.samples.sum(dtype=torch.long) for part in (data.train_set, data.val_set))
    assert total == original.data.sum(dtype=torch.long)
    assert torch.equal(data.test_set.samples.squeeze(1), datasets.MNIST(mnist_root, train=False).data)


@pytest.mark.real_data
def test_mnist_mean_and_std_are_those_of_its_training_images(mnist_root):
    pixels = datasets.MNIST(mnist_root, train=True).data / 255
    assert MNISTDataModule.mean == [pytest.approx(pixels.mean().item(), abs=1e-4)]
    assert MNISTDataModule.std == [pytest.approx(pixels.std().item(), abs=1e-4)]

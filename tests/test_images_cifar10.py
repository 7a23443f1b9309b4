"""CIFAR-10's loading code on a small data set in the original file format."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from torchvision import datasets

from datamodules import CIFAR10DataModule, DataError


@pytest.fixture
def small_cifar10(tmp_path, monkeypatch):
    """Five training files of 20 images and one test file of 10, with the checksums that fit them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = {}

    def write(name: str, content: dict) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(name: str, count: int) -> list[str]:
        pixels, labels = rng.integers(0, 256, (count, 3072), dtype=np.uint8), (np.arange(count) % 10).tolist()
        rows[name] = (pixels, labels)
        return write(name, {"data": pixels, "labels": labels, "batch_label": name, "filenames": []})

    monkeypatch.setattr(datasets.CIFAR10, "train_list", [batch(f"data_batch_{i}", 20) for i in range(1, 6)])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [batch("test_batch", 10)])
    name, md5 = write("batches.meta", {"label_names": CIFAR10DataModule.class_names})
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    return tmp_path, rows


def _ready(root) -> CIFAR10DataModule:
    data = CIFAR10DataModule(root=str(root))
    data.prepare_data()
    data.setup()
    return data


def test_pixels_and_labels_are_those_of_the_files_channel_by_channel_row_by_row(small_cifar10):
    root, rows = small_cifar10
    data = _ready(root)
    pixels, labels = rows["test_batch"]
    assert data.test_set.samples.dtype == torch.uint8
    for i, label in enumerate(labels):  # the format: 1,024 red values, then green, then blue, each row by row
        image = data.test_set.samples[i].numpy()
        for channel in range(3):
            assert np.array_equal(image[channel].ravel(), pixels[i, 1024 * channel : 1024 * (channel + 1)])
        assert data.test_set.targets[i] == label


def test_a_tenth_of_the_training_images_validates_and_no_image_is_in_two_parts(small_cifar10):
    root, rows = small_cifar10
    data = _ready(root)
    parts = [{image.numpy().tobytes() for image in part.samples} for part in (data.train_set, data.val_set)]
    assert [len(part) for part in parts] == [90, 10]
    assert not parts[0] & parts[1]
    original = {row.tobytes() for name, (pixels, _) in rows.items() if name != "test_batch" for row in pixels}
    assert parts[0] | parts[1] == original


def test_the_split_depends_on_its_own_seed_alone(small_cifar10):
    root, _ = small_cifar10
    torch.manual_seed(1)
    first = _ready(root).val_set.samples
    torch.manual_seed(2)
    assert torch.equal(first, _ready(root).val_set.samples)


def test_a_damaged_file_is_named(small_cifar10):
    root, _ = small_cifar10
    path = root / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3 is damaged: its MD5 is not .*: delete .* to download it again"):
        CIFAR10DataModule(root=str(root)).prepare_data()
    path.unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        CIFAR10DataModule(root=str(root)).prepare_data()


def test_without_files_and_network_both_ways_out_are_named_and_no_folder_is_left(
    tmp_path, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def no_network(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(DataError, match=r"could not be downloaded \(no network\): set PATH_DATASETS .*overlays"):
        CIFAR10DataModule(root=str(tmp_path / "data")).prepare_data()
    assert not (tmp_path / "data").exists()

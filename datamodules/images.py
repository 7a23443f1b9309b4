"""Images that need no folder of their own: scikit-learn's digits, MNIST and Fashion-MNIST, uint8 in memory."""

import contextlib
import hashlib
import io
import math
import os
import struct
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torchvision import datasets

from datamodules.cache import download_lock, locked
from datamodules.image_data import ImageDataModule
from datamodules.in_memory import DataError, InMemoryDataset


class DigitsDataModule(ImageDataModule):
    """The 1,797 handwritten digits bundled with scikit-learn, sample (1, 8, 8) uint8; split at random, stratified.

    Source: E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998. Grey levels 0-16
    become 0-255.

    Args:
        split: shares of the training, validation and test images; they sum to 1.
        split_seed: of the split; not the training seed.
        augment: as in :class:`ImageDataModule`.
        on_device: as in :class:`ImageDataModule`.
        batch_size: training images per step.
    """

    def __init__(
        self,
        split: list[float] = (0.7, 0.1, 0.2),
        split_seed: int = 42,
        augment: list[nn.Module] | None = None,
        on_device: bool | None = None,
        batch_size: int = 64,
    ):
        super().__init__(augment, on_device, batch_size)
        if len(split) != 3 or min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"split must be three shares > 0 that sum to 1, got {list(split)}")
        self.sample_shape = [1, 8, 8]
        self.num_classes = 10
        self.class_names = [str(digit) for digit in range(10)]
        images, labels = load_digits(return_X_y=True)
        self._samples = torch.from_numpy(np.rint(images * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
        self._targets = torch.from_numpy(labels)
        rest, test = train_test_split(
            np.arange(len(labels)), test_size=split[2], random_state=split_seed, stratify=labels
        )
        train, val = train_test_split(
            rest, test_size=split[1] / (split[0] + split[1]), random_state=split_seed, stratify=labels[rest]
        )
        self._parts = [torch.from_numpy(part) for part in (train, val, test)]
        train_pixels = self._samples[self._parts[0]] / 255
        self.mean = [train_pixels.mean().item()]
        self.std = [train_pixels.std().item()]

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The three parts."""
        train, val, test = (InMemoryDataset(self._samples[part], self._targets[part]) for part in self._parts)
        return train, val, test


def check_idx_file(path: Path, md5: str | None) -> None:
    """Check that an IDX file is whole, by the length its header promises and by its MD5 where that is known.

    Raises:
        DataError: naming the file.
    """
    way_out = "delete it to download it again, or copy it anew"
    with path.open("rb") as file:
        header = file.read(4)
        num_dims = header[3] if len(header) == 4 else 0
        sizes = file.read(4 * num_dims)
    if num_dims == 0 or len(sizes) < 4 * num_dims:
        raise DataError(f"{path} is no IDX file ({path.stat().st_size} bytes): {way_out}")
    expected = 4 + len(sizes) + math.prod(struct.unpack(f">{num_dims}I", sizes))
    if path.stat().st_size != expected:
        raise DataError(f"{path} is damaged: {path.stat().st_size} bytes, expected {expected}: {way_out}")
    if md5 and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != md5:
        raise DataError(f"{path} is damaged: its MD5 is not {md5}: {way_out}")


class MNISTDataModule(ImageDataModule):
    """MNIST, sample (1, 28, 28) uint8, split 55,000 / 5,000 / 10,000; the test part is the original one.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998. Read from
    ``root/MNIST/raw`` when the four files are there, checked by MD5; downloaded by torchvision otherwise.

    Args:
        root: folder of torchvision data sets; default ``$PATH_DATASETS``, else ``data``.
        split_seed: chooses the 5,000 validation images; not the training seed.
        augment: as in :class:`ImageDataModule`.
        on_device: as in :class:`ImageDataModule`.
        batch_size: training images per step.

    Raises:
        DataError: a file is damaged, or there are neither files nor network.
    """

    source = datasets.MNIST
    class_names = [str(digit) for digit in range(10)]
    mean = [0.1307]
    std = [0.3081]
    raw_md5: dict[str, str | None] = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }

    def __init__(
        self,
        root: str | None = None,
        split_seed: int = 42,
        augment: list[nn.Module] | None = None,
        on_device: bool | None = None,
        batch_size: int = 64,
    ):
        super().__init__(augment, on_device, batch_size)
        self.root = root or os.environ.get("PATH_DATASETS") or "data"
        self.split_seed = split_seed
        self.sample_shape = [1, 28, 28]
        self.num_classes = 10

    @property
    def raw_folder(self) -> Path:
        """Where the four IDX files are or will be."""
        return Path(self.root) / self.source.__name__ / "raw"

    def prepare_data(self) -> None:
        """Find or download the files, and check them."""
        if not self._is_there():
            with locked(download_lock(self.root)):
                if not self._is_there():
                    self._download()
        for name, md5 in self.raw_md5.items():
            check_idx_file(self.raw_folder / name, md5)

    def _is_there(self) -> bool:
        return all((self.raw_folder / name).is_file() for name in self.raw_md5)

    def _download(self) -> None:
        existed = self.raw_folder.exists()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints every mirror it tries
                self.source(self.root, download=True)
        except (OSError, RuntimeError) as error:
            if not existed:
                for folder in (self.raw_folder, self.raw_folder.parent, Path(self.root)):
                    with contextlib.suppress(OSError):  # what holds files stays
                        folder.rmdir()
            raise DataError(
                f"{self.source.__name__} is not in {self.raw_folder} and could not be downloaded ({error}): set "
                "PATH_DATASETS to a folder that holds it, or use the bundled data set: --data DigitsDataModule"
            ) from error

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The three parts."""
        original, test = (self.source(self.root, train=train) for train in (True, False))
        order = torch.randperm(len(original), generator=torch.Generator().manual_seed(self.split_seed))
        val, train = order[:5000], order[5000:]
        samples = original.data.unsqueeze(1)
        return (
            InMemoryDataset(samples[train], original.targets[train]),
            InMemoryDataset(samples[val], original.targets[val]),
            InMemoryDataset(test.data.unsqueeze(1), test.targets),
        )


class FashionMNISTDataModule(MNISTDataModule):
    """Fashion-MNIST in MNIST's format and split; arguments and errors as in :class:`MNISTDataModule`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", 2017. Checked by the length that each file's header
    promises; downloads by torchvision's MD5 of the archives.
    """

    source = datasets.FashionMNIST
    class_names = datasets.FashionMNIST.classes
    mean = [0.2860]
    std = [0.3530]
    raw_md5 = dict.fromkeys(MNISTDataModule.raw_md5)

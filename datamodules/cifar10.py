"""CIFAR-10 in its original Python format, read by torchvision."""

import contextlib
import io
import os
from pathlib import Path

import torch
from torch import nn
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from datamodules.cache import download_lock, locked
from datamodules.image_data import ImageDataModule
from datamodules.in_memory import DataError, InMemoryDataset


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10, sample (3, 32, 32) uint8, split 45,000 / 5,000 / 10,000; the test part is the original one.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Read from
    ``root/cifar-10-batches-py`` when it is there, checked by MD5; downloaded by torchvision otherwise.

    Args:
        root: folder of torchvision data sets; default ``$PATH_DATASETS``, else ``data``.
        split_seed: chooses the tenth of the training images that validates; not the training seed.
        mean: of the red, green and blue channel, in units of full intensity.
        std: likewise.
        augment: as in :class:`ImageDataModule`.
        on_device: as in :class:`ImageDataModule`.
        batch_size: training images per step and process.

    Raises:
        DataError: a file is damaged, or there are neither files nor network.
    """

    source = datasets.CIFAR10
    class_names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]

    def __init__(
        self,
        root: str | None = None,
        split_seed: int = 42,
        mean: list[float] = (0.4914, 0.4822, 0.4465),
        std: list[float] = (0.2470, 0.2435, 0.2616),
        augment: list[nn.Module] | None = None,
        on_device: bool | None = None,
        batch_size: int = 128,
    ):
        super().__init__(augment, on_device, batch_size)
        self.root = root or os.environ.get("PATH_DATASETS") or "data"
        self.split_seed = split_seed
        self.sample_shape = [3, 32, 32]
        self.num_classes = len(self.class_names)
        self.mean = list(mean)
        self.std = list(std)

    def prepare_data(self) -> None:
        """Find or download the files, and check them."""
        if not self._find_fault():
            return
        folder = Path(self.root, self.source.base_folder)
        with locked(download_lock(self.root)):
            if not folder.is_dir():
                self._download()
        if fault := self._find_fault():
            raise DataError(f"{fault}: delete {folder} to download it again, or copy it anew")

    def _find_fault(self) -> str | None:
        """The first file that is missing or damaged."""
        for name, md5 in [*self.source.train_list, *self.source.test_list]:
            path = Path(self.root, self.source.base_folder, name)
            if not check_integrity(str(path), md5):
                return f"{path} is {f'damaged: its MD5 is not {md5}' if path.is_file() else 'missing'}"
        return None

    def _download(self) -> None:
        existed = Path(self.root).exists()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # torchvision reports what it unpacks
                self.source(self.root, download=True)
        except (OSError, RuntimeError) as error:
            if not existed:
                with contextlib.suppress(OSError):  # what holds files stays
                    Path(self.root).rmdir()
            raise DataError(
                f"CIFAR-10 is not in {Path(self.root, self.source.base_folder)} and could not be downloaded "
                f"({error}): set PATH_DATASETS to a folder that holds it, or name a folder of images with "
                "-c configs/overlays/cifar10_folder.yaml"
            ) from error

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The three parts."""
        original, test = (self._read(train) for train in (True, False))
        order = torch.randperm(len(original), generator=torch.Generator().manual_seed(self.split_seed))
        num_val = len(original) // 10
        return self._part(original, order[num_val:]), self._part(original, order[:num_val]), test

    def _read(self, train: bool) -> InMemoryDataset:
        part = self.source(self.root, train=train)
        samples = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()  # (N, H, W, C) -> (N, C, H, W)
        return InMemoryDataset(samples, torch.tensor(part.targets))

    def _part(self, dataset: InMemoryDataset, indices: torch.Tensor) -> InMemoryDataset:
        return InMemoryDataset(dataset.samples[indices], dataset.targets[indices])

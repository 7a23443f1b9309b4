"""What all image data sets share: augmentation of training batches on the device, and data that live there."""

import os

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.in_memory import InMemoryDataModule, InMemoryDataset


def augmentation_seed(epoch: int, rank: int) -> int:
    """A seed that is a function of (``seed_everything``'s seed, epoch, rank), apart from the model's own."""
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
    return int(np.random.SeedSequence([seed, epoch, rank, 1]).generate_state(1)[0])


class ImageDataModule(InMemoryDataModule):
    """Images (C, H, W) uint8 in memory, augmented a batch at a time after they have reached the device.

    Only training batches are augmented. Random numbers start each epoch from a seed that depends on (seed, epoch,
    rank) alone, so that a run resumed at an epoch's end sees the images that the undisturbed run sees.

    Args:
        augment: applied in order to (images, targets) of each training batch: :mod:`datamodules.augment`, or
            transforms of ``torchvision.transforms.v2`` that suit a batch.
        on_device: keep the data sets on the accelerator, so that batches are cut there and none crosses the bus;
            None does it on a GPU if they fill less than half of its free memory. Each process holds a whole copy
            and cuts only its own samples from it.
        batch_size: training images per step and process.
        eval_batch_size: validation, test and prediction images per step and process.
    """

    def __init__(
        self,
        augment: list[nn.Module] | None = None,
        on_device: bool | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 1024,
    ):
        super().__init__(batch_size, eval_batch_size)
        self.augment = list(augment or [])
        self.on_device = on_device
        self._seeded_epoch: int | None = None

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Augment a training batch."""
        if not self.augment or self.trainer is None or not self.trainer.training:
            return batch
        if self._seeded_epoch != self.trainer.current_epoch:
            self._seeded_epoch = self.trainer.current_epoch
            torch.manual_seed(augmentation_seed(self.trainer.current_epoch, self.trainer.global_rank))
        images, targets = batch
        for transform in self.augment:
            images, targets = transform(images, targets)
        return images, targets

    def _loader(self, dataset: InMemoryDataset, sampler: object, batch_size: int) -> DataLoader:
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device.type != dataset.samples.device.type and self._belongs_on(device):
            dataset.samples = dataset.samples.to(device)
            dataset.targets = dataset.targets.to(device)
        return super()._loader(dataset, sampler, batch_size)

    def _belongs_on(self, device: torch.device) -> bool:
        """Decided for all three data sets together, by their size in bytes and the device's free memory."""
        if self.on_device is not None:
            return self.on_device
        if device.type != "cuda":
            return False
        on_host = [part.samples for part in (self.train_set, self.val_set, self.test_set) if not part.samples.is_cuda]
        return sum(samples.nbytes for samples in on_host) < torch.cuda.mem_get_info(device)[0] / 2

"""The one training, validation, test and predict step that all experiments share."""

import os

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lit_models.metrics import LossAndAccuracy


def seed_of_epoch(epoch: int, rank: int) -> int:
    """A seed that is a function of (``seed_everything``'s seed, epoch, rank) and of nothing else."""
    seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


class LitClassifier(L.LightningModule):
    """A network that turns samples (B, *sample_shape) into logits (B, num_classes), trained by cross-entropy.

    Children build ``self.net``, the plain ``nn.Module``. Once an epoch the step logs ``{train,val,test}/loss``
    and ``/acc`` over all samples. Random numbers drawn while training (dropout, augmentation) start each epoch
    from a seed that depends on (seed, epoch, rank) alone, so that a run resumed at an epoch's end repeats the
    undisturbed one bit for bit.

    Args:
        sample_shape: shape of one sample, without the batch; linked from the data.
        num_classes: number of classes; linked from the data.
        mean: per channel or feature, for the network's first layer; linked from the data.
        std: likewise.
        optimizer: makes the optimiser from the parameters; any ``torch.optim`` class path.
        lr_scheduler: makes the learning-rate schedule from the optimiser; None keeps the rate.
        lr_interval: when the schedule steps, ``epoch`` or ``step``.
        label_smoothing: of the training loss only, in [0, 1).
    """

    net: nn.Module

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: str = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        if lr_interval not in ("epoch", "step"):
            raise ValueError(f"lr_interval must be epoch or step, got {lr_interval}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        optimizer([nn.Parameter(torch.zeros(1))])  # refuses a bad learning rate here, not when training starts
        self.save_hyperparameters(logger=False)
        for name in ("optimizer", "lr_scheduler"):
            if callable(self.hparams.get(name)):  # built in Python: not a plain value, so no part of a checkpoint
                del self.hparams[name]
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.lr_interval = lr_interval
        self.label_smoothing = label_smoothing
        self.train_metrics = LossAndAccuracy()
        self.val_metrics = LossAndAccuracy()
        self.test_metrics = LossAndAccuracy()

    def forward(self, x: Tensor) -> Tensor:
        """(B, *sample_shape) -> logits (B, num_classes)."""
        return self.net(x)

    def _step(self, batch: tuple[Tensor, Tensor], metrics: LossAndAccuracy, label_smoothing: float = 0.0) -> Tensor:
        samples, targets = batch
        logits = self(samples)
        loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        metrics.update(loss, logits, targets)
        return loss

    def _log_epoch(self, split: str, metrics: LossAndAccuracy) -> None:
        values = {f"{split}/{name}": value.float() for name, value in metrics.compute().items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=1)
        metrics.reset()

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Restart the random numbers at the first batch, after everything that an epoch's start may draw."""
        if batch_idx == 0:
            self.train_metrics.reset()
            torch.manual_seed(seed_of_epoch(self.current_epoch, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch, with label smoothing."""
        return self._step(batch, self.train_metrics, self.label_smoothing)

    def on_train_batch_end(self, outputs: object, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the epoch's sums once, before the validation and every callback that reads them."""
        if self.trainer.is_last_batch:
            self._log_epoch("train", self.train_metrics)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        self._step(batch, self.val_metrics)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/loss`` and ``val/acc``."""
        self._log_epoch("val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the test metrics."""
        self._step(batch, self.test_metrics)

    def on_test_epoch_end(self) -> None:
        """Log ``test/loss`` and ``test/acc``."""
        self._log_epoch("test", self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities (B, num_classes)."""
        samples, _ = batch
        return self(samples).softmax(dim=1)

    def configure_optimizers(self) -> dict:
        """The optimiser, and the schedule at its interval."""
        optimizer = self.make_optimizer(self.parameters())
        if self.make_lr_scheduler is None:
            return {"optimizer": optimizer}
        scheduler = {"scheduler": self.make_lr_scheduler(optimizer), "interval": self.lr_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

"""The training set measured as the test set is, so that the gap between the two means what it says."""

import math

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch.nn import functional as F

from lit_models.metrics import LossAndAccuracy


class TrainEvaluation(Callback):
    """Logs ``train/eval_loss`` and ``train/eval_acc`` after every epoch, on training samples in evaluation mode.

    ``train/acc`` is counted while the weights still change, under dropout and augmentation, so it cannot be compared
    with ``test/acc``: with dropout it may even be the lower of the two. Here the network stands still, nothing is
    dropped or augmented, and batch norm uses its running statistics.

    Args:
        num_samples: at most so many of the training samples, evenly spaced through the set, >= 1.
    """

    def __init__(self, num_samples: int = 10_000):
        if num_samples < 1:
            raise ValueError(f"num_samples must be >= 1, got {num_samples}")
        self.num_samples = num_samples

    # Here the network is in evaluation mode and gradients are off already, and the training epoch is not yet closed.
    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure and log."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        data, precision = trainer.datamodule, trainer.precision_plugin
        stride = math.ceil(len(data.train_set) / self.num_samples)
        batches = zip(
            data.train_set.samples[::stride].split(data.eval_batch_size),
            data.train_set.targets[::stride].split(data.eval_batch_size),
            strict=True,
        )
        metrics = LossAndAccuracy().to(pl_module.device)
        with precision.forward_context():  # as the trainer's own steps
            for samples, targets in batches:
                logits = pl_module(precision.convert_input(samples.to(pl_module.device)))
                targets = targets.to(pl_module.device)
                metrics.update(F.cross_entropy(logits, targets), logits, targets)
        values = {f"train/eval_{name}": value.float() for name, value in metrics.compute().items()}
        self.log_dict(values, batch_size=1)

"""The logits of the whole test set, for callbacks that draw what became of it."""

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class CollectedLogits(Callback):
    """Keeps the logits that the test computes, and hands them to :meth:`draw` in the order of the test set.

    They are taken as the module returns them, so that nothing is computed twice. Under several processes each
    keeps those of its own samples, and the first one draws all.
    """

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._latest: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to keep."""
        self._logits = []
        self._hook = pl_module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple, logits: Tensor) -> None:
        self._latest = logits

    def on_test_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *batch: object) -> None:
        """Keep what the batch's last pass returned."""
        self._logits.append(self._latest.detach().float().cpu())

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Gather and draw."""
        self._hook.remove()
        self._latest = None
        mine = torch.cat(self._logits)
        self._logits = []
        parts = [mine]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        if not trainer.is_global_zero:
            return
        logits = torch.empty(sum(len(part) for part in parts), mine.shape[1])
        for rank, part in enumerate(parts):
            logits[rank :: trainer.world_size] = part
        self.draw(trainer, logits, trainer.datamodule.test_set.targets[: len(logits)].cpu())

    def draw(self, trainer: L.Trainer, logits: Tensor, targets: Tensor) -> None:
        """Draw logits (N, C) and targets (N,); on rank 0 only."""
        raise NotImplementedError

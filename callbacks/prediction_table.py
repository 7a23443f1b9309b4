"""Predictions of a run as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor


class PredictionTable(BasePredictionWriter):
    """Writes ``predictions.csv``: index in the set, predicted class, its probability, the true class."""

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        predictions: Sequence[Tensor],
        batch_indices: Sequence[Sequence[int]],
    ) -> None:
        """Gather the ranks' probabilities (n, C) and write them in the order of the set."""
        data = trainer.datamodule
        indices = list(range(trainer.global_rank, len(data.test_set), trainer.world_size))
        mine = (indices, torch.cat(list(predictions)).cpu())
        everyone = [mine]
        if trainer.world_size > 1:
            everyone = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyone, mine)
        if trainer.is_global_zero:
            rows = [row for part in everyone for row in zip(*part, strict=True)]
            self._write(Path(trainer.default_root_dir, "predictions.csv"), data, sorted(rows, key=lambda row: row[0]))

    def _write(self, path: Path, data: L.LightningDataModule, rows: list[tuple[int, Tensor]]) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["index", "predicted", "probability", "target"])
            for index, probabilities in rows:
                probability, k = probabilities.max(dim=0)
                target = data.class_names[int(data.test_set.targets[index])]
                writer.writerow([index, data.class_names[int(k)], f"{probability.item():.6f}", target])

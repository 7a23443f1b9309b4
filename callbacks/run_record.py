"""What a run leaves behind besides its weights: history.csv, the learning curves and, last, result.json."""

import contextlib
import csv
import functools
import json
import math
import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from callbacks.figures import PALETTE, publish

PACKAGES = ("firstlight", "torch", "torchvision", "lightning", "torchmetrics", "scikit-learn", "numpy")


class RunRecord(Callback):
    """Appends one row an epoch to ``history.csv``, draws ``figures/curves.png``, writes ``result.json``.

    An epoch without validation leaves the cells of its metrics empty.

    Args:
        monitor: the metric that chooses the best epoch.
        mode: ``max`` or ``min``.
    """

    def __init__(self, monitor: str, mode: str):
        self.monitor = monitor
        self.mode = mode
        self.rows: list[dict[str, str]] = []
        self.columns: dict[str, None] = {}  # names in the order in which the rows bring them up
        self.seconds_before = 0.0
        self._should_stop = False
        self._validated = False
        git_commit()  # now, before anybody changes the files

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note whether early stopping has ended the run with this epoch."""
        checkpoint["should_stop"] = trainer.should_stop

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take over what the checkpoint says."""
        self._should_stop = checkpoint.get("should_stop", False)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read what earlier sittings wrote."""
        self.path = Path(trainer.default_root_dir, "history.csv")
        self.rows = read_history(self.path)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of the epochs that the checkpoint has seen; a run that had stopped stays stopped."""
        trainer.should_stop = trainer.should_stop or self._should_stop
        self.rows = [row for row in self.rows if int(row["epoch"]) < trainer.current_epoch]
        self.columns = dict.fromkeys(name for row in self.rows for name in row)
        self.seconds_before = self.train_seconds
        self.started = time.perf_counter()
        if trainer.is_global_zero:
            self._rewrite()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The trainer keeps metrics of an earlier validation, which are none of this epoch's."""
        self._validated = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """This epoch has validation metrics."""
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append the epoch's row."""
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(self.seconds_before + time.perf_counter() - self.started, 3),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        metrics = sorted(trainer.callback_metrics.items())
        row |= {name: shortest(value) for name, value in metrics if self._is_of_this_epoch(name)}
        self.rows.append({name: str(value) for name, value in row.items()})
        if self.rows[-1].keys() <= self.columns.keys():
            self._append(self.rows[-1])
        else:
            self.columns |= dict.fromkeys(self.rows[-1])
            self._rewrite()

    def _is_of_this_epoch(self, name: str) -> bool:
        """A training metric is; one of validation only if there was one, and the training set is evaluated with it."""
        if name.startswith(("val/", "train/eval_")):
            return self._validated
        return name.startswith("train/")

    def _rewrite(self) -> None:
        """All rows in one step: a kill halfway must not lose any."""
        partial = self.path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        if not self.rows:
            self.path.unlink(missing_ok=True)
            return
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.columns))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)

    def _append(self, row: dict[str, str]) -> None:
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, fieldnames=list(self.columns)).writerow(row)

    @property
    def train_seconds(self) -> float:
        """Wall-clock seconds of training and validation to the end of the last epoch, over all sittings."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the curves of the run that is tested after its training."""
        if trainer.is_global_zero and self.rows:
            publish(trainer, "curves", draw_curves(self.rows, int(self.best_row["epoch"])))

    @property
    def best_row(self) -> dict[str, str]:
        """The row of the epoch whose checkpoint was kept; on a tie the first, as the checkpoint does."""
        worst = -math.inf if self.mode == "max" else math.inf

        def score(row: dict[str, str]) -> float:
            value = float(row.get(self.monitor) or "nan")
            return worst if math.isnan(value) else value

        return (max if self.mode == "max" else min)(self.rows, key=score)

    def write_result(self, trainer: L.Trainer, pl_module: L.LightningModule, facts: dict[str, Any]) -> dict[str, Any]:
        """Write ``result.json`` after the test, by atomic rename: its presence means that the run is complete."""
        best = {name: float(value) for name, value in self.best_row.items() if value and "/" in name}
        test = {name: shortest(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        result = facts | {
            "metrics": best | test,
            "best_epoch": int(self.best_row["epoch"]),
            "epochs": len(self.rows),
            "steps": int(self.rows[-1]["step"]),
            "train_seconds": self.train_seconds,
            "num_parameters": sum(p.numel() for p in pl_module.parameters()),
            "precision": str(trainer.precision),
            "device": describe_device(pl_module.device),
            "num_processes": trainer.world_size,
            "num_threads": torch.get_num_threads(),
            "versions": package_versions(),
            "git_commit": git_commit(),
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_json(Path(trainer.default_root_dir, "result.json"), result)
        return result


def shortest(value: Tensor) -> float:
    """The shortest decimal that stands for a float32: 0.9604, not 0.9603999853134155."""
    return float(str(np.float32(value.item())))


def read_history(path: Path) -> list[dict[str, str]]:
    """Rows of a ``history.csv``; a last line torn by a kill is left out."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row.values()]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is either whole or not there."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)


def draw_curves(rows: list[dict[str, str]], best_epoch: int) -> Figure:
    """Loss and accuracy against the epoch, training and validation, with the epoch that was kept."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, metric, label in zip(figure.subplots(1, 2), ("loss", "acc"), ("cross-entropy", "accuracy"), strict=True):
        for split, colour in zip(("train", "val"), PALETTE, strict=False):
            name = f"{split}/{metric}"
            points = [(int(row["epoch"]) + 1, float(row[name])) for row in rows if row.get(name)]
            if not points:
                continue
            marker = "o" if len(points) < 30 else None
            label_of_split = {"train": "training", "val": "validation"}[split]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, ms=3.5, label=label_of_split)
        axes.axvline(best_epoch + 1, color="0.4", ls=":", label=f"kept: epoch {best_epoch + 1}")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    figure.axes[0].legend(frameon=False)
    return figure


def describe_device(device: torch.device) -> str:
    """The processor's or accelerator's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line for line in lines if line.startswith("model name")).split(":")[1].strip()
    return f"{os.cpu_count()} CPU cores, {name}"


@functools.cache
def package_versions() -> dict[str, str]:
    """Python's version and those of the packages that decide a result."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@functools.cache
def git_commit() -> str | None:
    """The project's commit, with ``+`` when files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if status else "")

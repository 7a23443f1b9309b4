"""Where the figures of a run go, and the colours that all of them share."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers; ordered so that neighbours differ in lightness.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]


def publish(trainer: L.Trainer, name: str, figure: Figure) -> None:
    """Write a figure to ``<run>/figures/<name>.png`` and to TensorBoard; rank 0 only."""
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir, "figures", f"{name}.png")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_figure(f"figures/{name}", figure, global_step=trainer.global_step)

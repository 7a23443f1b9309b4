"""Where the figures of a run go, and the colours that all of them share."""

from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette, told apart by colour-blind readers; ordered so that neighbours differ in lightness.
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"]
DOTS_PER_INCH = 150


def publish(trainer: L.Trainer, name: str, figure: Figure) -> None:
    """Write a figure to ``<run>/figures/<name>.png`` and to TensorBoard, drawn once for both; rank 0 only."""
    if not trainer.is_global_zero:
        return
    path = Path(trainer.default_root_dir, "figures", f"{name}.png")
    path.parent.mkdir(exist_ok=True)
    pixels = _render(figure)
    Image.fromarray(pixels).save(path, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(f"figures/{name}", pixels, trainer.global_step, dataformats="HWC")


def _render(figure: Figure) -> np.ndarray:
    """Pixels (H, W, 3)."""
    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])

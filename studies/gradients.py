"""How far the gradient reaches in a run, from the ``gradients.csv`` that ``callbacks.GradientFlow`` writes."""

import csv
from pathlib import Path

import numpy as np

SMALLEST = 1e-45  # stands for zero on a logarithmic axis


def read_flow(run: Path) -> np.ndarray | None:
    """A run's measured steps, (rows, 2 + layers); None where it measured none.

    Columns: epoch, step from 1, then mean |gradient| of each layer, first to last.
    """
    path = run / "gradients.csv"
    if not path.exists():
        return None
    with path.open(newline="") as file:
        rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]
    if not rows:
        return None
    flow = np.array(rows)
    flow[:, 2:] = flow[:, 2:].clip(SMALLEST)
    return flow


def last_epoch(flow: np.ndarray) -> np.ndarray:
    """Natural logarithm of each layer's magnitude, (layers,), mean over the rows of the last epoch."""
    return np.log(flow[flow[:, 0] == flow[-1, 0], 2:]).mean(axis=0)


def decades_lost(flow: np.ndarray) -> float:
    """Decimal logarithm of the last layer's magnitude over the first layer's, in the last epoch."""
    logarithms = last_epoch(flow)
    return float((logarithms[-1] - logarithms[0]) / np.log(10))

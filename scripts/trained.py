"""The trained model of a run, without its data."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import lightning as L
import torch

from lit_models import LitClassifier
from scripts.errors import UsageError
from scripts.run_directory import best_checkpoint, saved_config


@dataclass
class Trained:
    """A model in evaluation mode on the CPU, and the names of its classes."""

    model: LitClassifier
    class_names: list[str]

    @property
    def sample_shape(self) -> list[int]:
        """Shape of one sample, without the batch."""
        return list(self.model.hparams.sample_shape)


def load_run(run: str) -> Trained:
    """Load a run's best checkpoint.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    saved_config(run)
    path = best_checkpoint(run)
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        hparams = checkpoint["hyper_parameters"]
        module, _, name = hparams["_class_path"].rpartition(".")
        model_class = getattr(importlib.import_module(module), name)
    except (RuntimeError, EOFError, LookupError, UnpicklingError) as error:
        raise UsageError(f"{path} is no checkpoint of firstlight's: {error}") from error
    model = model_class.load_from_checkpoint(path, weights_only=True, map_location="cpu").eval()
    names = [part["class_names"] for part in checkpoint.values() if isinstance(part, dict) and "class_names" in part]
    return Trained(model, names[0] if names else [str(k) for k in range(hparams["num_classes"])])


def load_weights(model: L.LightningModule, path: Path) -> None:
    """Load a checkpoint's weights.

    Raises:
        UsageError: the file is missing, no checkpoint, or one for another network.
    """
    if not path.is_file():
        raise UsageError(f"{path} does not exist: --weights names a checkpoint")
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        model.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, LookupError, EOFError, UnpicklingError) as error:
        raise UsageError(f"{path} does not fit this model: {error}") from error

"""Checkpoints that are whole or not there, and that may be moved with their run."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the checkpoint and renames, so that a kill or a full disk leaves the previous one whole.

    Lightning's own writes to the system's temporary folder and moves; where that is another file system, the move
    is a copy that a kill can cut off. And Lightning forgets which epoch was the best where a run's directory has
    been moved or copied: the next one that is validated would overwrite it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str, storage_options: Any | None = None) -> None:
        """Save a checkpoint.

        Raises:
            OSError: the disk is full or not writable; an older file at ``path`` is untouched.
        """
        partial = Path(f"{path}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.save(checkpoint, partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint, the paths in it where it lies now."""
        checkpoint = super().load_checkpoint(path, *args, **kwargs)
        folder = os.path.realpath(Path(path).parent)
        for key, state in checkpoint.get("callbacks", {}).items():
            if key.startswith("ModelCheckpoint") and Path(state["dirpath"]).name == Path(folder).name:
                checkpoint["callbacks"][key] = _moved(state, state["dirpath"], folder)
        return checkpoint


def _moved(value: Any, old: str, new: str) -> Any:
    """A path, or paths in dictionaries, at or below another folder."""
    if isinstance(value, dict):
        return {_moved(key, old, new): _moved(content, old, new) for key, content in value.items()}
    if isinstance(value, str) and (value == old or value.startswith(old + os.sep)):
        return new + value[len(old) :]
    return value

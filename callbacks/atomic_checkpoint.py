"""Checkpoints that are whole or not there."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the checkpoint and renames, so that a kill or a full disk leaves the previous one whole.

    Lightning's own writes to the system's temporary folder and moves; where that is another file system, the move
    is a copy that a kill can cut off.
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

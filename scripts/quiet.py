"""What the libraries say that tells a user of this command nothing."""

import logging
import os
import warnings


def quieten() -> None:
    """Silence it; each with its reason."""
    # Lightning's notes on seeds, devices and files repeat what result.json says; among them are advertisements.
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # An in-memory loader is faster without workers.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # Metrics are logged once an epoch, so the interval in steps does not matter.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # The epoch's sums are torchmetrics', which adds them up over the ranks itself.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # A run that is continued has checkpoints; that is the point.
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    # Lightning 2.6 builds a LeafSpec, which torch 2.15 deprecates.
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    # jsonargparse deprecates calls that Lightning makes, not ours.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

"""The directory of a run: its name, and what lies in it."""

from datetime import datetime
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from scripts.errors import UsageError


def saved_config(run: str) -> Path:
    """The config of an existing run.

    Raises:
        UsageError: there is no such run.
    """
    path = Path(run, "config.yaml")
    if not path.exists():
        raise UsageError(
            f"--run {run} holds no config.yaml: name the directory of a run, such as runs/<experiment>/<run>"
        )
    return path


def best_checkpoint(run: str) -> Path:
    """The checkpoint of the epoch that validation chose.

    Raises:
        UsageError: no epoch has ended yet.
    """
    path = Path(run, "checkpoints", "best.ckpt")
    if not path.exists():
        raise UsageError(f"{path} does not exist: continue the run first, firstlight fit --run {run}")
    return path


def experiment_name(config_files: list[str], config: Any) -> str:
    """``configs/mnist/mlp.yaml`` is mnist-mlp; without a file, the classes' names."""
    if not config_files:
        return f"{config.model.class_path.rsplit('.')[-1]}-{config.data.class_path.rsplit('.')[-1]}"
    parts = Path(config_files[0]).with_suffix("").parts
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    return "-".join(below)


def new_run_dir(named: str | None, experiment: str, seed: int) -> Path:
    """A directory that does not exist yet.

    Raises:
        UsageError: the one that was named does.
    """
    if named:
        if Path(named).exists() and rank_zero_only.rank == 0:
            raise UsageError(f"--new_run {named} exists already: continue it with --run, or name another directory")
        return Path(named)
    stem = Path("runs", experiment, f"{datetime.now():%Y%m%d-%H%M%S}-seed{seed}")
    candidates = (stem.with_name(f"{stem.name}{suffix}") for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(path for path in candidates if not path.exists())

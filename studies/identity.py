"""What makes two runs the same experiment: their resolved config, paths and machine apart."""

import hashlib
import json
from typing import Any

# What may differ between two runs of one experiment: where it runs, where it writes, what it shows.
MACHINE_KEYS = {
    "trainer": {
        "accelerator",
        "default_root_dir",
        "devices",
        "enable_model_summary",
        "enable_progress_bar",
        "log_every_n_steps",
        "logger",
        "num_nodes",
        "profiler",
        "strategy",
    },
    "checkpoint": {"dirpath"},
}
# Data whose files are checked: wherever they lie, they are the same. A folder of pictures is another one's data set.
CHECKED_DATA = {f"datamodules.{name}DataModule" for name in ("CIFAR10", "FashionMNIST", "MNIST")}
RUN_KEYS = {"config", "experiment", "new_run", "run", "seed_everything"}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a resolved config that decides its results; the seed apart, which is a run's own."""
    kept = {key: value for key, value in config.items() if key not in RUN_KEYS}
    if not kept.get("weights"):  # drawn by the seed; else the checkpoint that training starts from
        kept.pop("weights", None)
    for section, machine_keys in MACHINE_KEYS.items():
        kept[section] = _without(kept.get(section) or {}, machine_keys)
    data = kept.get("data") or {}
    kept["data"] = _without(data, {"root"}) if data.get("class_path") in CHECKED_DATA else data
    return kept


def _without(section: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    section = {key: value for key, value in section.items() if key not in keys}
    if isinstance(section.get("init_args"), dict):
        section["init_args"] = _without(section["init_args"], keys)
    return section


def config_hash(config: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for equal experiments."""
    text = json.dumps(identity(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Dotted keys at which two configs differ."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [path]
    keys = sorted(old.keys() | new.keys())
    return [found for key in keys for found in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]

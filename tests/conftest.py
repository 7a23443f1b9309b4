"""Fixtures that several test files share."""

import os
import signal
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import CIFAR10DataModule
from scripts.main import main


@pytest.fixture(autouse=True)
def _one_thread():
    """Two workers run side by side; small networks gain nothing from a second thread."""
    torch.set_num_threads(1)


@pytest.fixture
def firstlight(tmp_path, monkeypatch):
    """The command, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return main


@pytest.fixture
def refused(firstlight, capfd):
    """Run a command that must be refused: exit code 2 and one line on standard error, which is returned."""

    def run(*args: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            firstlight([*args])
        assert exit_.value.code == 2
        line = capfd.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("firstlight: ")
        return line

    return run


@pytest.fixture
def configs() -> Path:
    """The folder of the project's configs."""
    return Path(__file__).parent.parent / "configs"


@pytest.fixture
def mnist_root() -> str:
    """A folder with the real MNIST."""
    root = os.environ.get("PATH_DATASETS")
    if not root or not Path(root, "MNIST", "raw").is_dir():
        pytest.skip("needs MNIST under $PATH_DATASETS")
    return root


@pytest.fixture
def trainer(tmp_path):
    """Make a silent Trainer for a few epochs on the CPU."""

    def make(**kwargs) -> L.Trainer:
        defaults = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "default_root_dir": str(tmp_path),
        }
        return L.Trainer(**(defaults | kwargs))

    return make


@pytest.fixture(scope="session")
def cifar10_folder(tmp_path_factory) -> Path:
    """CIFAR-10's ten classes as a folder: five training images and one test image of 32 x 32 of each."""
    root = tmp_path_factory.mktemp("cifar10")
    rng = np.random.default_rng(0)
    for part, count in {"train": 5, "test": 1}.items():
        for name in CIFAR10DataModule.class_names:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / part / name / f"{i}.jpg")
    return root


@pytest.fixture
def children_answer_ctrl_c():
    """A process started in the background ignores Ctrl-C, and its children with it; here they do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

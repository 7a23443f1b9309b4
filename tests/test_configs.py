"""Every config says what it asks, how to run it and what to expect; it parses, and it runs."""

import os
import re
from pathlib import Path

import pytest

from configs import CONFIGS

EXPERIMENTS = sorted(path for path in CONFIGS.glob("*/*.yaml") if path.parent.name not in ("overlays", "studies"))
HEADER = re.compile(
    r"# Question: .+\?.*\n# Command:  firstlight fit -c configs/(\S+)(?: .+)?\n# Expect:   .+\n# Cost:     .+\n(?!#)"
)
PLACEHOLDER = re.compile(r"TODO|EXPECT|COST_")
ONE_STEP = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]


def name(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_header_asks_a_question_and_names_its_own_command_expectation_and_cost(path):
    header = HEADER.match(path.read_text())
    assert header
    assert header[1] == name(path)
    assert not PLACEHOLDER.search(header[0])


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_config_runs(path, firstlight):
    text = path.read_text()
    if "CIFAR10DataModule" in text:
        pytest.skip("tests/test_images_configs.py runs it on a small folder copy")
    if "MNIST" in text and not Path(os.environ.get("PATH_DATASETS", ""), "MNIST").is_dir():
        pytest.skip("needs MNIST under $PATH_DATASETS")
    cli = firstlight(["fit", "-c", str(path), *ONE_STEP, "--trainer.limit_test_batches", "1"])
    assert (cli.run_dir / "result.json").exists()

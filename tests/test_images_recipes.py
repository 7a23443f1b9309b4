"""What the project's own recipes promise, on the real data. Minutes to half an hour each."""

import os
from pathlib import Path

import pytest
import torch

from configs import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


@pytest.fixture
def cifar10_jpeg() -> str:
    """A folder copy of CIFAR-10: train/<class>/* and test/<class>/*."""
    root = os.environ.get("CIFAR10_FOLDER")
    if not root or not Path(root, "train").is_dir():
        pytest.skip("needs a folder copy of CIFAR-10, named by $CIFAR10_FOLDER")
    return root


def fit_on_folder(firstlight, name: str, root: str) -> dict:
    torch.set_num_threads(os.cpu_count())
    overlay = str(CONFIGS / "overlays" / "cifar10_folder.yaml")
    cli = firstlight(["fit", "-c", str(CONFIGS / "cifar10" / f"{name}.yaml"), "-c", overlay, "--data.root", root])
    return cli.result


def test_mnist_mlp_best_reaches_98_8_percent_with_report_ds_network(firstlight, mnist_root):
    cli = firstlight(["fit", "-c", str(CONFIGS / "mnist" / "mlp_best.yaml"), "--data.root", mnist_root])
    assert cli.result["num_parameters"] == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    assert cli.result["metrics"]["test/acc"] >= 0.988


@pytest.mark.timeout(2400)
@pytest.mark.parametrize(("name", "accuracy"), [("cnn_best", 0.90), ("mlp_best", 0.66), ("d_simple_cnn", 0.695)])
def test_recipe_reaches_what_its_header_says_on_the_jpeg_copy(name, accuracy, firstlight, cifar10_jpeg):
    result = fit_on_folder(firstlight, name, cifar10_jpeg)
    assert result["metrics"]["test/acc"] >= accuracy
    if os.cpu_count() == 2:
        assert result["train_seconds"] < 1800


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cnn_best_reaches_93_percent_on_a_gpu(firstlight, cifar10_jpeg):
    assert fit_on_folder(firstlight, "cnn_best", cifar10_jpeg)["metrics"]["test/acc"] >= 0.93

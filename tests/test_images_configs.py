"""Every shipped CIFAR-10 config, on a small folder copy through the overlay."""

import pytest

from configs import CONFIGS
from datamodules import CIFAR10DataModule, ImageFolderDataModule

FAST = ("cnn_best", "d_simple_cnn", "mlp_best")
NAMES = [
    pytest.param(path.stem, marks=[] if path.stem in FAST else [pytest.mark.slow])
    for path in sorted((CONFIGS / "cifar10").glob("*.yaml"))
]


@pytest.mark.parametrize("name", NAMES)
def test_config_takes_a_step_on_a_folder_copy_and_keeps_its_protocol(name, cifar10_folder, firstlight, tmp_path):
    data = ["--data.root", str(cifar10_folder), "--data.cache", str(tmp_path), "--data.val_share", "0.2"]
    files = [str(CONFIGS / "cifar10" / f"{name}.yaml"), str(CONFIGS / "overlays" / "cifar10_folder.yaml")]
    quick = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.callbacks", "[]"]
    cli = firstlight(["fit", "-c", files[0], "-c", files[1], *data, *quick, "--trainer.accelerator", "cpu"])
    assert isinstance(cli.datamodule, ImageFolderDataModule)
    assert cli.datamodule.class_names == CIFAR10DataModule.class_names
    original = cli.config_init.fit.data
    assert cli.datamodule.mean[0] == pytest.approx(0.4914)  # the config's own, not the folder's default
    assert cli.trainer.global_step == 1
    augmented = name in ("a_vgg", "c_cnn", "c_mlp", "cnn_best", "mlp_best")
    assert bool(original.augment) == augmented

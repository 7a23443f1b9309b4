"""Transfer learning on a randomly initialised weights file in the format that torchvision publishes."""

import copy
from urllib.error import URLError

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torchvision import models

from datamodules.in_memory import InMemoryDataModule, InMemoryDataset
from lit_models import LitTransfer
from lit_models.transfer import TransferNet

COLOUR = {"sample_shape": [3, 32, 32], "num_classes": 4, "mean": [0.5] * 3, "std": [0.25] * 3}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """ResNet-18 with 1,000 classes and random weights, and the file that holds them."""
    torch.manual_seed(0)
    network = models.resnet18(num_classes=1000)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    path = tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth"
    torch.save(network.state_dict(), path)
    return network.eval(), path


class Noise(InMemoryDataModule):
    def __init__(self):
        super().__init__(batch_size=8)
        self.sample_shape, self.num_classes, self.class_names = [3, 32, 32], 4, list("abcd")
        self.mean, self.std = [0.5] * 3, [0.25] * 3

    def load(self):
        generator = torch.Generator().manual_seed(0)
        parts = [torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator) for n in (16, 8, 8)]
        return tuple(InMemoryDataset(part, torch.arange(len(part)) % 4) for part in parts)


def _fitted(trainer, **arguments) -> LitTransfer:
    torch.manual_seed(1)
    model = LitTransfer(**COLOUR, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.01), **arguments)
    trainer(max_epochs=1).fit(model, Noise())
    return model


def test_logits_are_the_new_head_on_the_published_networks_features(trainer, published):
    network, path = published
    model = _fitted(trainer, weights_file=str(path), freeze=True)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    features = copy.deepcopy(network)
    features.fc = nn.Identity()
    with torch.no_grad():
        expected = model.net.head(features((images / 255 - 0.5) / 0.25))
        torch.testing.assert_close(model.eval()(images), expected, rtol=1e-4, atol=1e-4)


def test_a_frozen_backbone_keeps_weights_and_running_statistics_while_the_head_learns(trainer, published):
    network, path = published
    model = _fitted(trainer, weights_file=str(path), freeze=True)
    for name, value in model.net.backbone.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    torch.manual_seed(1)
    assert not torch.equal(model.net.head.weight, LitTransfer(**COLOUR).net.head.weight)


def test_fine_tuning_moves_the_backbone_at_its_own_rate(trainer, published):
    network, path = published
    model = _fitted(trainer, weights_file=str(path), backbone_lr_factor=0.5)
    assert not torch.equal(model.net.backbone.conv1.weight, network.conv1.weight)
    optimizer = model.configure_optimizers()["optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005]
    owners = [{id(p) for p in group["params"]} for group in optimizer.param_groups]
    assert owners[0] == {id(p) for p in model.net.head.parameters()}
    assert owners[0] | owners[1] == {id(p) for p in model.parameters()}


def test_weights_in_torch_home_are_found_without_a_network(trainer, published, tmp_path, monkeypatch):
    network, path = published
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / path.name).symlink_to(path)
    model = _fitted(trainer, freeze=True)
    assert torch.equal(model.net.backbone.conv1.weight, network.conv1.weight)


def test_without_network_and_file_both_ways_out_are_named(trainer, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    message = r"not in ~/.*checkpoints and could not be downloaded .*: copy resnet18-f37072fd.pth there .* name a file"
    with pytest.raises(MisconfigurationException, match=message):
        _fitted(trainer)


def test_a_file_that_is_missing_damaged_or_of_another_network_is_named(trainer, tmp_path):
    (tmp_path / "torn.pth").write_bytes(b"torn")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    for name, message in {
        "none.pth": "does not exist",
        "torn.pth": "torn.pth cannot be read",
        "other.pth": "other.pth holds no weights of resnet18",
    }.items():
        with pytest.raises(MisconfigurationException, match=message):
            _fitted(trainer, weights_file=str(tmp_path / name))


def test_a_checkpoint_needs_no_weights_file(trainer, published, tmp_path):
    _, path = published
    model = _fitted(trainer, weights_file=str(path))
    other = LitTransfer(**COLOUR, weights_file="gone.pth")
    other.load_state_dict(model.state_dict())
    trainer(max_epochs=1).fit(other, Noise())  # would raise, were the file read
    again = LitTransfer(**COLOUR, weights_file="gone.pth")
    trainer().test(again, Noise(), verbose=False)


def test_parameters_of_both_networks_are_the_published_ones_less_the_old_head():
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in TransferNet([3, 32, 32], 10, [0.5] * 3, [0.5] * 3, name).parameters())
            for name in ("resnet18", "vgg16")
        }
    assert counts["resnet18"] == models.ResNet18_Weights.IMAGENET1K_V1.meta["num_params"] - 513 * 1000 + 513 * 10
    assert counts["vgg16"] == models.VGG16_Weights.IMAGENET1K_V1.meta["num_params"] - 4097 * 1000 + 4097 * 10


def test_grey_images_are_shown_three_times_and_enlarged():
    torch.manual_seed(0)
    grey = TransferNet([1, 28, 28], 4, [0.5], [0.25], resize=64).eval()
    colour = TransferNet([3, 64, 64], 4, [0.5] * 3, [0.25] * 3).eval()
    colour.backbone, colour.head = grey.backbone, grey.head
    images = torch.rand(2, 1, 28, 28)
    large = nn.functional.interpolate(images, (64, 64), mode="bilinear").repeat(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(grey(images), colour(large), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_shape": [2, 32, 32]}, r"sample_shape\[0\] must be 1 or 3 channels, got 2"),
        ({"resize": 8}, "resize must be >= 32, got 8"),
        ({"backbone_lr_factor": 0.0}, "backbone_lr_factor must be > 0, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LitTransfer(**(COLOUR | arguments))

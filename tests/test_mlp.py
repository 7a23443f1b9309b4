"""The MLP: parameter counts, heads, initialisations, normalisation, refusals."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from lit_models import MLP, LitMLP
from lit_models.normalize import Normalize

PLANE = {"sample_shape": [2], "num_classes": 2, "mean": [0.0, 0.0], "std": [1.0, 1.0]}
IMAGE = {"sample_shape": [1, 28, 28], "num_classes": 10, "mean": [0.1307], "std": [0.3081]}


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (MLP(**IMAGE, hidden=[128, 64]), 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10),
        (MLP(**PLANE, hidden=[4], sigmoid_head=True), 2 * 4 + 4 + 4 + 1),
        (MLP(**PLANE, hidden=[]), 2 * 2 + 2),
        (MLP(**PLANE, hidden=[8], batch_norm=True), 2 * 8 + 8 + 2 * 8 + 8 * 2 + 2),
    ],
)
def test_parameters_are_those_counted_by_hand(net, count):
    assert sum(p.numel() for p in net.parameters()) == count


def test_cross_entropy_of_the_sigmoid_head_is_binary_cross_entropy():
    net = MLP(**PLANE, hidden=[4], sigmoid_head=True).double()
    x, targets = torch.randn(50, 2).double(), torch.randint(2, (50,))
    z = torch.nn.Sequential(*list(net)[:-1])(x)
    expected = F.binary_cross_entropy_with_logits(z.squeeze(1), targets.double())
    torch.testing.assert_close(F.cross_entropy(net(x), targets), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x).softmax(dim=1)[:, 1], z.squeeze(1).sigmoid())


def test_xavier_weights_lie_in_glorots_bounds_and_biases_are_zero():
    layer = MLP(**IMAGE, hidden=[100], init="xavier_uniform").linear_layers()[0]
    bound = (6 / (784 + 100)) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def first_to_last_gradient(init: str) -> float:
    """mean |dL/dW| of the first layer over that of the last, in a network of six sigmoid layers."""
    torch.manual_seed(0)
    net = MLP(**IMAGE, hidden=[256] * 6, activation="Sigmoid", init=init)
    F.cross_entropy(net(torch.randint(256, (64, 1, 28, 28), dtype=torch.uint8)), torch.randint(10, (64,))).backward()
    layers = net.linear_layers()
    return (layers[0].weight.grad.abs().mean() / layers[-1].weight.grad.abs().mean()).item()


def test_a_gradient_passes_six_sigmoids_only_from_the_start_meant_for_them():
    assert first_to_last_gradient("default") < 1e-4
    assert first_to_last_gradient("xavier_uniform") < 1e-3
    assert first_to_last_gradient("xavier_sigmoid") > 3e-3
    weight = MLP(**IMAGE, hidden=[100], init="xavier_sigmoid").linear_layers()[0].weight
    assert weight.std().item() == pytest.approx(4 * (2 / (784 + 100)) ** 0.5, rel=0.02)


def test_kaiming_weights_keep_the_variance_through_relu():
    layer = MLP(**IMAGE, hidden=[400], init="kaiming_normal").linear_layers()[0]
    assert layer.weight.std().item() == pytest.approx((2 / 784) ** 0.5, rel=0.02)
    assert not layer.bias.any()


def test_uint8_images_are_normalised_as_torchvision_does():
    images = torch.randint(256, (6, 3, 5, 4), dtype=torch.uint8)
    mean, std = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    torch.testing.assert_close(Normalize(mean, std)(images), reference(images))


def test_float_samples_are_normalised_per_feature():
    x = torch.randn(9, 2)
    torch.testing.assert_close(Normalize([1.0, 2.0], [3.0, 4.0])(x), (x - torch.tensor([1, 2])) / torch.tensor([3, 4]))


def test_dropout_zeroes_hidden_units_in_training_only():
    net = MLP(**PLANE, hidden=[1000], dropout=0.5)
    x = torch.randn(1, 2)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": [3, 0]}, r"hidden\[1\] must be >= 1, got 0"),
        ({"hidden": [3], "dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"hidden": [3], "label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\), got -0.1"),
        ({"hidden": [3], "lr_interval": "batch"}, "lr_interval must be epoch or step, got batch"),
        ({"hidden": [3], "optimizer": partial(torch.optim.SGD, lr=-1.0)}, "Invalid learning rate: -1.0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LitMLP(**PLANE, **arguments)


def test_sigmoid_head_refuses_three_classes():
    with pytest.raises(ValueError, match="sigmoid_head needs num_classes = 2, got 3"):
        MLP([2], 3, [0.0, 0.0], [1.0, 1.0], [4], sigmoid_head=True)

"""The convolutional networks: parameter counts of the reports, shapes, and the fast network's stem."""

from functools import partial

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from configs import CONFIGS
from lit_models import CNN, FastCNN, LitCNN, LitFastCNN
from lit_models.cnn import HaarStem
from lit_models.schedules import WarmupCosine, WarmupLinear

CIFAR10 = {"sample_shape": [3, 32, 32], "num_classes": 10, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}


def layers_of(name: str) -> list[str]:
    """The network of a shipped config."""
    return yaml.safe_load((CONFIGS / "cifar10" / f"{name}.yaml").read_text())["model"]["init_args"]["layers"]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def by_hand(*layers: tuple[int, ...]) -> int:
    """Weights and biases of (channels in, out, kernel) or (features in, out)."""
    return sum(size[0] * size[1] * (size[2] ** 2 if len(size) == 3 else 1) + size[1] for size in layers)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        ("d_simple_cnn", 545_098),  # printed in report D, as are the next two
        ("d_cnn_b", 1_080_042),
        ("d_cnn_c", 1_259_786),
        (
            "a_vgg",
            by_hand((3, 64, 3), (64, 128, 3), (128, 256, 3), (256, 256, 3), (256, 512, 3), (512, 512, 3), (512, 10)),
        ),
        (
            "c_cnn",
            by_hand((3, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 256, 3), (256, 256, 3))
            + by_hand((256 * 4 * 4, 1024), (1024, 1024), (1024, 10)),
        ),
        (
            "b_vgg",
            by_hand((3, 64, 3), (64, 128, 3), (128, 256, 3), (256, 256, 3), (256, 512, 3))
            + by_hand((512, 512, 3), (512, 512, 3), (512, 512, 3), (512, 10))
            + 2 * (64 + 128 + 256 + 256 + 4 * 512),
        ),
    ],
)
def test_parameters_are_those_of_the_report_or_counted_by_hand(config, parameters):
    assert count(LitCNN(**CIFAR10, layers=layers_of(config))) == parameters


def test_blocks_of_report_b_have_the_shapes_it_lists():
    net = CNN(**CIFAR10, layers=layers_of("b_vgg")).eval()
    shapes, x = [], torch.zeros(2, 3, 32, 32)
    for module in net:
        x = module(x)
        if isinstance(module, nn.MaxPool2d):
            shapes.append(list(x.shape[1:]))
    assert shapes == [[64, 16, 16], [128, 8, 8], [256, 4, 4], [512, 2, 2], [512, 1, 1]]


def test_words_compute_what_the_same_network_written_by_hand_computes():
    torch.manual_seed(0)
    lit = LitCNN(**CIFAR10, layers=layers_of("d_simple_cnn"))
    by_hand = nn.Sequential(
        *[nn.Conv2d(3, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(32, 64, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10)],
    )
    for ours, theirs in zip(lit.parameters(), by_hand.parameters(), strict=True):
        theirs.data = ours.data
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(CIFAR10[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(lit(images), by_hand((images / 255 - mean) / std), rtol=1e-4, atol=1e-5)


def test_channels_last_is_the_default_and_changes_no_result():
    torch.manual_seed(0)
    last = LitCNN(**CIFAR10, layers=layers_of("d_simple_cnn"))
    first = LitCNN(**CIFAR10, layers=layers_of("d_simple_cnn"), channels_last=False)
    first.load_state_dict(last.state_dict())
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert last.net[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert not first.net[1].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last(images), first(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["conv3-8", "rellu"], r"layers\[1\]: 'rellu' is no layer like conv3-64"),
        (["conv3"], r"layers\[0\]: 'conv3' is no layer"),
        (["maxpool2-8"], r"layers\[0\]: 'maxpool2-8' is no layer"),
        (["conv3-8"], r"layers must end in features, not in shape \[8, 32, 32\]: add flatten"),
        (["maxpool2"] * 6, r"layers\[5\]: .* \(its input has shape \[3, 1, 1\]\)"),
        (["flatten", "conv3-8"], r"layers\[1\]: .* \(its input has shape \[3072\]\)"),
    ],
)
def test_a_wrong_word_is_named_with_its_place(layers, message):
    with pytest.raises(ValueError, match=message):
        CNN(**CIFAR10, layers=layers)


def test_haar_stem_whitens_patches_whose_pixels_are_correlated():
    torch.manual_seed(0)
    coarse = torch.randn(64, 1, 8, 8)
    smooth = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear") + 0.3 * torch.randn(64, 3, 32, 32)
    stem = HaarStem(3)
    basis = stem.convolution.weight.flatten(1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(12), rtol=0, atol=1e-6)
    both = stem(smooth)
    torch.testing.assert_close(both[:, :12], -both[:, 12:])
    pixels = smooth.unfold(2, 2, 1).unfold(3, 2, 1).permute(1, 4, 5, 0, 2, 3).reshape(12, -1)
    before, after = torch.corrcoef(pixels), torch.cov(both[:, :12].transpose(0, 1).flatten(1))
    assert (before - torch.eye(12)).abs().mean() > 0.5
    torch.testing.assert_close(after.diagonal(), torch.ones(12), rtol=0.02, atol=0)
    assert (after - after.diagonal().diag()).abs().mean() < 0.05


def test_fast_network_starts_by_passing_its_input_on():
    net = FastCNN(**CIFAR10, widths=[32, 64]).eval()
    first = next(layer for layer in net if isinstance(layer, nn.Conv2d))
    x = torch.randn(2, 24, 9, 9)
    torch.testing.assert_close(first(x)[:, :24], x)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert count(net) - 12 * 12 - 2 * (32 + 64) == 9 * (24 * 32 + 32 * 32 + 32 * 64 + 64 * 64) + 2 * (32 + 64) + 640


def test_fast_network_takes_any_channels_and_refuses_images_too_small_for_it():
    grey = {"sample_shape": [1, 28, 28], "num_classes": 10, "mean": [0.5], "std": [0.5]}
    assert LitFastCNN(**grey, widths=[8, 8])(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"3 widths need images of side > 8, got \[1, 8, 8\]"):
        FastCNN(**(grey | {"sample_shape": [1, 8, 8]}), widths=[8, 8, 8])
    with pytest.raises(ValueError, match=r"widths\[1\] must be >= 1, got 0"):
        FastCNN(**grey, widths=[8, 0])
    with pytest.raises(ValueError, match="factor must be > 0, got 0"):
        FastCNN(**grey, widths=[8], logit_scale=0)


def test_fast_network_averages_views_of_an_image_but_not_while_it_trains():
    plain, *others = (FastCNN(**CIFAR10, widths=[8], test_time_views=views).eval() for views in (1, 2, 6))
    x = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    padded = F.pad(x.float(), (1, 1, 1, 1), mode="reflect").to(torch.uint8)
    moved = [x, padded[:, :, 2:, 2:], padded[:, :, :-2, :-2]]
    for net, places in zip(others, (moved[:1], moved), strict=True):
        net.load_state_dict(plain.state_dict())
        views = [torch.flip(place, dims=dims) for place in places for dims in ([], [3])]
        torch.testing.assert_close(net(x), torch.stack([plain(view) for view in views]).mean(dim=0))
        assert not torch.allclose(net(x), plain(x))
    torch.testing.assert_close(others[0].train()(x), plain.train()(x))
    with pytest.raises(ValueError, match="test_time_views must be 1, 2 or 6, got 3"):
        FastCNN(**CIFAR10, widths=[8], test_time_views=3)


def test_fast_network_sees_small_images_in_its_first_epochs_only(monkeypatch):
    model = LitFastCNN(**CIFAR10, widths=[8], early_side=24, early_epochs=2)
    seen = []
    model.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0]))
    batch = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8), torch.zeros(4, dtype=torch.long)
    for epoch in range(3):
        monkeypatch.setattr(LitFastCNN, "current_epoch", epoch)
        model.training_step(batch, 0)
    assert [tuple(x.shape[2:]) for x in seen] == [(24, 24), (24, 24), (32, 32)]
    theirs = F.interpolate(batch[0].float(), (24, 24), mode="bilinear", antialias=True)
    assert (seen[0].float() - theirs).abs().max() <= 1  # uint8, rounded
    with pytest.raises(ValueError, match="early_side must be > 2 and <= 32, got 2"):
        LitFastCNN(**CIFAR10, widths=[8], early_side=2)
    with pytest.raises(ValueError, match="early_epochs must be >= 0, got -1"):
        LitFastCNN(**CIFAR10, widths=[8], early_epochs=-1)


def test_fast_network_trains_its_biases_at_their_own_rate_and_decays_them_alike():
    sgd = partial(torch.optim.SGD, lr=0.5, weight_decay=0.01)
    model = LitFastCNN(**CIFAR10, widths=[8, 16], bias_lr_factor=64, optimizer=sgd)
    weights, biases = model.configure_optimizers()["optimizer"].param_groups
    assert (weights["lr"], biases["lr"]) == (0.5, 32.0)
    assert weights["lr"] * weights["weight_decay"] == pytest.approx(biases["lr"] * biases["weight_decay"])
    assert [len(p) for p in biases["params"]] == [8, 8, 16, 16]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(p.numel() for group in (weights, biases) for p in group["params"]) == trained
    with pytest.raises(ValueError, match="bias_lr_factor must be > 0, got 0"):
        LitFastCNN(**CIFAR10, widths=[8], bias_lr_factor=0)


def test_a_linear_decay_ends_at_nothing_and_keeps_the_groups_apart():
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 8.0)])
    schedule = WarmupLinear(optimizer, warmup=1, total=5)
    rates = []
    for _ in range(6):
        rates.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    assert rates == [[0.5, 4.0], [1.0, 8.0], [0.75, 6.0], [0.5, 4.0], [0.25, 2.0], [0.0, 0.0]]


def test_warmup_rises_in_equal_steps_and_the_rest_is_torchs_cosine():
    parameter = nn.Parameter(torch.zeros(1))
    ours = torch.optim.SGD([parameter], lr=0.8)
    schedule = WarmupCosine(ours, warmup=3, total=13)
    theirs = torch.optim.SGD([parameter], lr=0.8)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=10)
    rates = []
    for _ in range(13):
        rates.append(schedule.get_last_lr()[0])
        ours.step()
        schedule.step()
    expected = [0.2, 0.4, 0.6]
    for _ in range(10):
        expected.append(cosine.get_last_lr()[0])
        theirs.step()
        cosine.step()
    assert rates == pytest.approx(expected)
    assert schedule.get_last_lr()[0] == pytest.approx(0)
    with pytest.raises(ValueError, match="total must be > warmup = 5, got 5"):
        WarmupCosine(ours, 5, 5)
    with pytest.raises(ValueError, match="warmup must be >= 0, got -1"):
        WarmupCosine(ours, -1, 5)

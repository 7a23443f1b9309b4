"""The callbacks that look inside: what they draw against a plain loop, and that they change nothing."""

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from callbacks import ConfidentMistakes, ConfusionMatrix, FirstLayer
from callbacks.collected_logits import CollectedLogits
from callbacks.confusion_matrix import confusion_counts
from callbacks.feature_maps import filters_of, first_layer, one_of_each_class, output_of
from callbacks.mistakes import most_confident_mistakes
from callbacks.pictures import grid
from datamodules import DigitsDataModule, MoonsDataModule
from lit_models import LitCNN, LitMLP

INSIDE = [ConfusionMatrix, FirstLayer, ConfidentMistakes]
LAYERS = ["conv3-8", "relu", "maxpool2", "flatten", "dropout-0.5"]


def linked(data: L.LightningDataModule) -> dict:
    """What the command links from data to model."""
    return {name: getattr(data, name) for name in ("sample_shape", "num_classes", "mean", "std")}


def trained(trainer, callbacks: list) -> LitCNN:
    L.seed_everything(0)
    data = DigitsDataModule()
    model = LitCNN(**linked(data), layers=LAYERS)
    runner = trainer(max_epochs=2, callbacks=callbacks)
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
    return model


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]


def test_looking_inside_changes_no_weight_and_writes_every_figure(trainer, tmp_path):
    without, with_ = trained(trainer, []), trained(trainer, [callback() for callback in INSIDE])
    for a, b in zip(without.state_dict().values(), with_.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not with_._forward_hooks
    written = sorted(path.stem for path in (tmp_path / "figures").iterdir())
    assert written == [
        *["class_accuracy", "confident_mistakes", "confusion_matrix", "first_layer_filters", "first_layer_maps"]
    ]


def test_the_kept_logits_are_those_of_a_plain_pass_over_the_test_set(trainer):
    class Keep(CollectedLogits):
        def draw(self, trainer, logits, targets):
            self.kept = logits, targets

    keep = Keep()
    model = trained(trainer, [FirstLayer(), keep])  # FirstLayer runs the model once more: not to be kept
    data = DigitsDataModule()
    data.setup()
    with torch.no_grad():
        expected = model.eval()(data.test_set.samples)
    torch.testing.assert_close(keep.kept[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(keep.kept[1], data.test_set.targets)


def test_confusion_counts_are_scikit_learns():
    rng = np.random.default_rng(0)
    targets, predicted = rng.integers(0, 5, (2, 300))
    expected = confusion_matrix(targets, predicted, labels=range(6))
    counts = confusion_counts(torch.from_numpy(predicted), torch.from_numpy(targets), 6)
    assert np.array_equal(counts.numpy(), expected)


def test_mistakes_are_the_wrong_ones_by_falling_confidence():
    shares = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.05, 0.95]])
    rows, confidence = most_confident_mistakes(shares.log(), torch.tensor([1, 0, 0, 0]))
    assert rows.tolist() == [3, 0, 2]
    assert confidence.tolist() == pytest.approx([0.95, 0.9, 0.6])


def test_maps_are_the_convolutions_own_output_and_the_mode_is_left_alone():
    torch.manual_seed(0)
    model = LitCNN([1, 8, 8], 10, [0.3], [0.4], layers=LAYERS)
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    convolution = first_layer(model)
    maps = output_of(convolution, model, images)
    expected = torch.nn.functional.conv2d((images / 255 - 0.3) / 0.4, convolution.weight, convolution.bias, padding=1)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    assert model.training
    assert all(module.training for module in model.modules())
    assert one_of_each_class(torch.tensor([2, 0, 2, 1, 0])) == [1, 3, 0]


def test_filters_of_a_linear_layer_are_images():
    model = LitMLP([1, 8, 8], 10, [0.3], [0.4], hidden=[16])
    filters = filters_of(first_layer(model), [1, 8, 8])
    assert filters.shape == (16, 1, 8, 8)
    assert torch.equal(filters[3].flatten(), model.net[2].weight[3])


def test_grid_places_images_row_by_row():
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(-1, 1, 2, 3) / 10
    picture = grid(images, columns=2)
    assert picture.shape == (3 * 3 + 1, 2 * 4 + 1)
    assert picture[1:3, 1:4] == pytest.approx(0.0)
    assert picture[4:6, 5:8] == pytest.approx(0.3)
    assert picture[0] == pytest.approx(1.0)


def test_points_are_no_images_and_draw_nothing_but_the_matrix(trainer, tmp_path):
    data = MoonsDataModule(num_samples=100)
    model = LitMLP(**linked(data), hidden=[4])
    trainer(callbacks=[callback() for callback in INSIDE]).test(model, data, verbose=False)
    assert sorted(path.stem for path in (tmp_path / "figures").iterdir()) == ["class_accuracy", "confusion_matrix"]

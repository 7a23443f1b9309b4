"""Augmentation against a loop over single images, and its place in training."""

import lightning as L
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from datamodules import DigitsDataModule
from datamodules.augment import Cutout, HorizontalFlip, MixUp, PerSample, RandomCrop
from datamodules.image_data import ImageDataModule
from datamodules.in_memory import InMemoryDataset
from lit_models import LitMLP

IMAGES = torch.arange(64 * 3 * 9 * 7, dtype=torch.int64).remainder(251).to(torch.uint8).view(64, 3, 9, 7)
TARGETS = torch.arange(64) % 4


@pytest.mark.parametrize(("mode", "numpy_mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_each_crop_is_a_window_of_its_own_image_padded_by_numpy(mode, numpy_mode):
    torch.manual_seed(0)
    cropped, targets = RandomCrop(2, mode)(IMAGES, TARGETS)
    assert cropped.dtype == torch.uint8
    assert torch.equal(targets, TARGETS)
    places = set()
    for image, result in zip(IMAGES.numpy(), cropped.numpy(), strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode=numpy_mode)
        windows = {(y, x): padded[:, y : y + 9, x : x + 7] for y in range(5) for x in range(5)}
        matching = [place for place, window in windows.items() if np.array_equal(window, result)]
        assert len(matching) == 1
        places.add(matching[0])
    assert len(places) > 15  # of 25: each sample draws for itself


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others():
    torch.manual_seed(0)
    flipped, _ = HorizontalFlip()(IMAGES, TARGETS)
    same = (flipped == IMAGES).flatten(1).all(dim=1)
    mirrored = (flipped == IMAGES.flip(3)).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    assert 16 < mirrored.sum() < 48
    assert torch.equal(HorizontalFlip(1.0)(IMAGES, TARGETS)[0], IMAGES.flip(3))
    assert torch.equal(HorizontalFlip(0.0)(IMAGES, TARGETS)[0], IMAGES)


def test_cutout_blackens_one_square_of_each_image_clipped_at_the_border():
    torch.manual_seed(0)
    white = torch.full((200, 3, 9, 7), 255, dtype=torch.uint8)
    cut, _ = Cutout(4)(white, torch.zeros(200, dtype=torch.long))
    hole = cut == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    rows, columns = hole[:, 0].any(dim=2), hole[:, 0].any(dim=1)
    assert torch.equal(hole[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    heights, widths = rows.sum(dim=1), columns.sum(dim=1)
    assert heights.max() == widths.max() == 4
    assert heights.min() >= 2
    assert len(set(zip(rows.int().argmax(1).tolist(), columns.int().argmax(1).tolist(), strict=True))) > 20


def test_per_sample_gives_every_image_its_own_affine_map():
    torch.manual_seed(0)
    one = IMAGES[:1].expand(8, -1, -1, -1)
    together = v2.RandomAffine(degrees=180)(one)
    apart, _ = PerSample(v2.RandomAffine(degrees=180))(one, TARGETS[:8])
    assert all(torch.equal(together[0], image) for image in together)
    assert len({image.numpy().tobytes() for image in apart}) == 8


def test_mixup_blends_pixels_and_targets_by_the_same_share():
    torch.manual_seed(0)
    constant = (60 * TARGETS[:4]).to(torch.uint8).view(4, 1, 1, 1).expand(-1, 3, 2, 2)  # pixel value tells the class
    images, targets = MixUp(4, alpha=1.0)(constant, TARGETS[:4])
    assert torch.allclose(targets.sum(dim=1), torch.ones(4))
    expected = targets @ torch.tensor([0.0, 60.0, 120.0, 180.0]) / 255
    assert torch.allclose(images[:, 0, 0, 0], expected)
    assert not torch.equal(targets, targets.round())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HorizontalFlip(1.5), r"p must be in \[0, 1\], got 1.5"),
        (lambda: RandomCrop(0), "padding must be >= 1, got 0"),
        (lambda: RandomCrop(2, "wrap"), "mode must be zeros or reflect, got wrap"),
        (lambda: RandomCrop(9)(IMAGES, TARGETS), "padding must be < the image's side, 7, got 9"),
        (lambda: Cutout(0), "size must be >= 1, got 0"),
        (lambda: MixUp(10, 0.0), "alpha must be > 0, got 0.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Numbered(ImageDataModule):
    """Images whose pixels are their number."""

    def __init__(self, **arguments):
        super().__init__(batch_size=8, eval_batch_size=8, **arguments)
        self.sample_shape, self.num_classes, self.class_names = [1, 4, 4], 2, ["a", "b"]
        self.mean, self.std = [0.5], [0.5]

    def load(self):
        pixels = torch.arange(48, dtype=torch.uint8).view(48, 1, 1, 1).expand(-1, 1, 4, 4).clone()
        pixels[:, :, :, 0] = 0
        parts = (slice(0, 32), slice(32, 40), slice(40, 48))
        return tuple(InMemoryDataset(pixels[part], torch.arange(48)[part] % 2) for part in parts)


class Recorder(L.LightningModule):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = {"train": [], "val": []}

    def training_step(self, batch, batch_idx):
        torch.rand(3)  # as dropout would
        self.seen["train"].append((self.current_epoch, batch[0]))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.seen["val"].append(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _watch(data, tmp_path, **trainer):
    torch.manual_seed(torch.seed() % 1000)
    recorder = Recorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    L.Trainer(default_root_dir=tmp_path, num_sanity_val_steps=2, **quiet, **trainer).fit(recorder, data)
    return recorder.seen


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
@pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")
def test_training_batches_alone_are_augmented_and_each_epoch_anew_but_repeatably(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    augment = [HorizontalFlip(), RandomCrop(1)]
    first = _watch(Numbered(augment=augment), tmp_path, max_epochs=2)
    again = _watch(Numbered(augment=augment), tmp_path, max_epochs=2)
    plain = _watch(Numbered(), tmp_path, max_epochs=2)
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first["train"], again["train"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first["val"], plain["val"], strict=True))
    changed = [not torch.equal(a, b) for (_, a), (_, b) in zip(first["train"], plain["train"], strict=True)]
    assert all(changed)
    offsets = [torch.cat([x for e, x in first["train"] if e == epoch])[:, 0, 0, 1].sort().values for epoch in (0, 1)]
    assert not torch.equal(*offsets)


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_a_run_resumed_at_an_epochs_end_sees_the_images_of_the_undisturbed_run(trainer, tmp_path):
    def parts() -> tuple[LitMLP, DigitsDataModule]:
        data = DigitsDataModule(augment=[RandomCrop(1), HorizontalFlip()])
        return LitMLP([1, 8, 8], 10, data.mean, data.std, hidden=[8], dropout=0.2), data

    L.seed_everything(3)
    undisturbed, data = parts()
    start = {name: value.clone() for name, value in undisturbed.state_dict().items()}
    trainer(max_epochs=3).fit(undisturbed, data)
    first, data = parts()
    first.load_state_dict(start)
    interrupted = trainer(max_epochs=2)
    interrupted.fit(first, data)
    interrupted.save_checkpoint(tmp_path / "two.ckpt")
    torch.rand(17)  # a process of its own starts with other random numbers
    second, data = parts()
    trainer(max_epochs=3).fit(second, data, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_a_model_learns_from_blended_images_and_is_measured_on_whole_ones(trainer):
    L.seed_everything(0)
    data = DigitsDataModule(augment=[MixUp(10)])
    model = LitMLP([1, 8, 8], 10, data.mean, data.std, hidden=[32])
    runner = trainer(max_epochs=8)
    runner.fit(model, data)
    assert runner.callback_metrics["val/acc"] > 0.9
    assert 0.5 < runner.callback_metrics["train/acc"] < runner.callback_metrics["val/acc"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_data_live_on_the_gpu_and_batches_are_cut_there(tmp_path):
    data = Numbered(augment=[HorizontalFlip()])
    recorder = Recorder()
    L.Trainer(accelerator="gpu", devices=1, max_epochs=1, default_root_dir=tmp_path, logger=False).fit(recorder, data)
    assert data.train_set.samples.is_cuda
    fetched, _ = next(iter(data.train_dataloader()))
    assert fetched.is_cuda

"""Folders of class folders: decoding against Pillow, splits, the cache, and what is wrong with a folder."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import DataError, ImageFolderDataModule
from datamodules.image_folder import UnreadableImageError, read_image

RNG = np.random.default_rng(0)


def picture(path, size=(8, 8), mode="RGB"):
    """Write random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def fill(folder, classes=("cat", "dog"), count=20):
    """Write a folder of class folders."""
    for name in classes:
        for i in range(count):
            picture(folder / name / f"{i:02d}.png")
    return folder


@pytest.fixture
def make(tmp_path):
    """Construct, prepare and set up a data module whose cache is the test's own."""

    def make(root, **arguments):
        data = ImageFolderDataModule(root=str(root), cache=str(tmp_path / "cache"), image_size=8, **arguments)
        data.prepare_data()
        data.setup()
        return data

    return make


def test_three_parts_are_read_pixel_by_pixel_with_classes_in_order(tmp_path, make):
    root = tmp_path / "pets"
    for part in ("train", "val", "test"):
        fill(root / part, count=5)
    data = make(root)
    assert data.class_names == ["cat", "dog"]
    for part, dataset in {"train": data.train_set, "val": data.val_set, "test": data.test_set}.items():
        assert dataset.targets.tolist() == [0] * 5 + [1] * 5
        for i, name in enumerate(("cat", "dog")):
            expected = np.asarray(Image.open(root / part / name / "03.png")).transpose(2, 0, 1)
            assert np.array_equal(dataset.samples[5 * i + 3].numpy(), expected)


def test_one_folder_is_split_by_class_without_overlap(tmp_path, make):
    data = make(fill(tmp_path / "pets", count=20), val_share=0.25, test_share=0.2)
    parts = [data.train_set, data.val_set, data.test_set]
    assert [part.targets.bincount().tolist() for part in parts] == [[12, 12], [4, 4], [4, 4]]
    images = [{image.numpy().tobytes() for image in part.samples} for part in parts]
    assert len(images[0] | images[1] | images[2]) == 40
    assert torch.equal(make(tmp_path / "pets", val_share=0.25, test_share=0.2).val_set.samples, data.val_set.samples)
    other = make(tmp_path / "pets", val_share=0.25, test_share=0.2, split_seed=1)
    assert not torch.equal(other.val_set.samples, data.val_set.samples)


def test_the_cache_is_reused_and_rebuilt_when_a_file_changes(tmp_path, make, monkeypatch):
    root = fill(tmp_path / "pets")
    before = make(root).train_set.samples.clone()

    def decodes_nothing(*args):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("datamodules.image_folder.read_image", decodes_nothing)
        assert torch.equal(make(root).train_set.samples, before)
    for name in ("cat", "dog"):
        for path in (root / name).iterdir():
            picture(path)
    assert not torch.equal(make(root).train_set.samples, before)
    picture(root / "cat" / "new.png")
    assert sum(len(part) for part in make(root).load()) == 41
    assert len(list((tmp_path / "cache").glob("*/*"))) == 1  # what earlier states left is gone


def test_runs_that_start_together_decode_each_image_once(tmp_path, make, monkeypatch):
    root = fill(tmp_path / "pets")
    decoded = []

    def slow(path, *args):
        time.sleep(0.01)
        decoded.append(path)
        return read_image(path, *args)

    monkeypatch.setattr("datamodules.image_folder.read_image", slow)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: make(root), range(3)))
    assert len(decoded) == 40
    for data in together:
        assert torch.equal(data.train_set.samples, together[0].train_set.samples)


def test_a_build_that_fails_leaves_no_cache(tmp_path, make):
    root = fill(tmp_path / "pets")
    (root / "cat" / "bad.png").write_text("no image")
    with pytest.raises(DataError):
        make(root)
    assert not list((tmp_path / "cache").glob("*/*"))


def test_the_parts_are_memory_mapped(tmp_path, make):
    samples = make(fill(tmp_path / "pets")).train_set.samples
    if Path("/proc/self/maps").exists():
        assert "train.npy" in Path("/proc/self/maps").read_text()
    samples[0] = 0  # copy on write: the file keeps its pixels
    assert make(tmp_path / "pets").train_set.samples[0].any()


def test_the_shorter_side_is_resized_and_the_centre_cropped(tmp_path):
    path = tmp_path / "wide.png"
    stripes = np.zeros((20, 60, 3), dtype=np.uint8)
    stripes[:, 20:40] = [255, 128, 0]  # the centre square
    Image.fromarray(stripes).save(path)
    assert (read_image(path, 10)[:, 1:9, 2:8].transpose(1, 2, 0) == [255, 128, 0]).all()


def test_grey_transparent_palette_sixteen_bit_and_turned_pictures_become_what_a_viewer_shows(tmp_path):
    half = np.zeros((8, 8, 4), dtype=np.uint8)
    half[:, :4, 3] = 255  # left half opaque black, right half transparent black
    Image.fromarray(half).save(tmp_path / "transparent.png")
    rgb = read_image(tmp_path / "transparent.png", 8)
    assert (rgb[:, :, :4] == 0).all()
    assert (rgb[:, :, 4:] == 255).all()
    deep = np.tile(np.linspace(0, 65535, 8).astype(np.uint16), (8, 1))
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png", 8, "L")[0], (deep >> 8).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    upright = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(upright[::-1, ::-1].copy()).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png", 8), upright.transpose(2, 0, 1))
    palette = Image.fromarray(upright).quantize(4)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(
        read_image(tmp_path / "palette.png", 8), np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = picture(tmp_path / "bomb.png")
    header = bytearray(path.read_bytes())
    header[16:24] = struct.pack(">II", 20_000, 20_000)  # promises 400 million pixels
    header[29:33] = struct.pack(">I", zlib.crc32(header[12:29]))
    path.write_bytes(header)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png has (20000 x 20000|too many) pixels"):
        read_image(path, 8)
    picture(tmp_path / "large.png", (30, 30))
    with pytest.raises(UnreadableImageError, match=r"large\.png has 30 x 30 pixels, more than max_pixels = 800"):
        read_image(tmp_path / "large.png", 8, max_pixels=800)


def test_unreadable_images_are_left_out_on_request_and_named(tmp_path, make, capsys):
    root = fill(tmp_path / "pets")
    bad = root / "dog" / "note.png"
    bad.write_text("no image")
    truncated = root / "cat" / "00.png"
    truncated.write_bytes(truncated.read_bytes()[:100])
    data = make(root, skip_unreadable=True)
    assert sum(len(part) for part in data.load()) == 39
    said = capsys.readouterr().err
    assert f"left out: {bad} is no image that can be read: not in a known format" in said
    assert f"left out: {truncated} is no image that can be read" in said
    for part in data.load():
        assert all(image.any() for image in part.samples)  # no row that was never written


def _no_images(root):
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()


def _text_named_png(root):
    fill(root)
    (root / "dog" / "note.png").write_text("no image")


def _class_missing_from_val(root):
    fill(root / "train")
    fill(root / "val", classes=("cat",))


def _unknown_class_in_test(root):
    fill(root / "train")
    fill(root / "test", classes=("cat", "dog", "owl"))


FAULTS = [
    (lambda root: None, "is not a folder: name one that holds a folder of images for each class"),
    (_no_images, "holds no image (.png, .jpg, .jpeg, .webp, ...)"),
    (lambda root: fill(root, classes=("cat",)), "needs one folder for each of two or more classes, found ['cat']"),
    (lambda root: [fill(root), (root / "owl").mkdir()], "owl holds no image"),
    (_text_named_png, "note.png is no image that can be read: not in a known format"),
    (_class_missing_from_val, "val has no folder 'dog', a class of the training images: add it"),
    (_unknown_class_in_test, "owl is no class of the training images: remove or rename it"),
    (lambda root: fill(root, count=3), "class 'cat' has 3 images, too few to cut a share of 0.1"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_what_is_wrong_with_a_folder_is_said_in_one_line_with_exit_code_2(spoil, message, tmp_path, refused):
    spoil(tmp_path / "pets")
    model = ["--model", "LitMLP", "--model.hidden", "[4]"]
    data = ["--data", "ImageFolderDataModule", "--data.root", "pets", "--data.cache", "cache", "--data.image_size", "8"]
    line = refused("fit", *model, *data, "--trainer.max_epochs", "1")
    assert message in line
    assert "pets" in line
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize("argument", [{"val_share": 0.0}, {"test_share": 1.0}, {"image_size": 0}])
def test_bad_arguments_are_named(argument, tmp_path, make):
    name, value = next(iter(argument.items()))
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {value}"):
        ImageFolderDataModule(**({"root": str(fill(tmp_path / "pets")), "image_size": 8} | argument))

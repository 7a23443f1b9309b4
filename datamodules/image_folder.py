"""Any folder of class folders as a data set, decoded once into a file that is memory-mapped afterwards."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.progress import track
from sklearn.model_selection import train_test_split
from torch import nn

from datamodules.cache import cache_folder, locked
from datamodules.image_data import ImageDataModule
from datamodules.in_memory import DataError, InMemoryDataset

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GREY_MEAN_STD = (0.449, 0.226)  # ImageNet's, averaged over the channels
MAX_PIXELS = 50_000_000
CACHE_VERSION = 1


class UnreadableImageError(Exception):
    """A file that is no image, is damaged, or has too many pixels; the message says which."""


def decode(path: Path, mode: Literal["RGB", "L"] = "RGB", max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image file: upright by its EXIF tag, on white where transparent, in 8 bits a channel.

    Args:
        path: a file in any format that Pillow reads.
        mode: ``RGB`` or ``L`` (grey).
        max_pixels: a file that promises more is refused before it is decoded.

    Raises:
        UnreadableImageError: the file is no image, is damaged, or is larger than ``max_pixels``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bomb warning: max_pixels stands in for it
            with Image.open(path) as image:
                if image.width * image.height > max_pixels:
                    raise UnreadableImageError(
                        f"{path} has {image.width} x {image.height} pixels, more than max_pixels = {max_pixels}"
                    )
                return flatten_onto_white(ImageOps.exif_transpose(image)).convert(mode)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path} has too many pixels: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(f"{path} is no image that can be read: {_reason(error)}") from error


def read_image(path: Path, size: int, mode: Literal["RGB", "L"] = "RGB", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image, resize its shorter side to ``size`` pixels, and crop the centre; errors as in :func:`decode`.

    Returns:
        Pixels (C, size, size) uint8.
    """
    image = decode(path, mode, max_pixels)
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return to_array(image)


def to_array(image: Image.Image) -> np.ndarray:
    """Pixels (C, H, W) uint8."""
    return np.asarray(image).reshape(image.height, image.width, -1).transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    return "not in a known format" if isinstance(error, UnidentifiedImageError) else str(error)


def flatten_onto_white(image: Image.Image) -> Image.Image:
    """An image without transparency, of 8 bits a channel."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour)
    return image


def image_files(folder: Path) -> list[Path]:
    """Every image file below a folder, by its extension, in order; hidden files and folders are passed over."""
    found = []
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(directory, name) for name in sorted(names) if _is_image_name(name)]
    return found


def _is_image_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def class_folders(folder: Path) -> list[str]:
    """Names of the folders directly below, in order, without hidden ones."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


@dataclass
class Listing:
    """The files of one part: paths (N), and each one's class as its number."""

    paths: list[Path]
    targets: list[int]

    def rows(self, rows: np.ndarray) -> "Listing":
        """Some of the files."""
        return Listing([self.paths[i] for i in rows], [self.targets[i] for i in rows])


def list_part(folder: Path, class_names: list[str]) -> Listing:
    """The images of a folder of class folders.

    Raises:
        DataError: its folders are not the classes, or one of them holds no image.
    """
    found = class_folders(folder)
    for missing in sorted(set(class_names) - set(found)):
        raise DataError(f"{folder} has no folder {missing!r}, a class of the training images: add it")
    for unknown in sorted(set(found) - set(class_names)):
        raise DataError(f"{folder / unknown} is no class of the training images: remove or rename it")
    listing = Listing([], [])
    for k, name in enumerate(class_names):
        files = image_files(folder / name)
        if not files:
            raise DataError(f"{folder / name} holds no image ({', '.join(EXTENSIONS[:4])}, ...): add some or remove it")
        listing.paths += files
        listing.targets += [k] * len(files)
    return listing


class ImageFolderDataModule(ImageDataModule):
    """Images of a folder, sample (3 or 1, image_size, image_size) uint8; a class is a folder.

    ``root`` holds either ``train/``, and if you like ``val/`` and ``test/``, each with one folder a class; or the
    class folders themselves. A part that is missing is cut from the rest at random, stratified by class. Each image
    is decoded and resized once, into a cache that is memory-mapped afterwards and rebuilt when a file is added,
    removed or changed.

    Args:
        root: the folder.
        image_size: side of the square that each image is resized to: its shorter side, then the centre; in pixels.
        mode: ``RGB``, or ``L`` for grey.
        mean: of each channel, in units of full intensity; default ImageNet's.
        std: likewise.
        val_share: of the images that are not test images, where there is no ``val/``.
        test_share: of all images, where there is no ``test/``.
        split_seed: of both cuts; not the training seed.
        skip_unreadable: leave out images that cannot be read or are too large, and say which, instead of stopping.
        max_pixels: an image with more is not decoded.
        cache: folder of the cache; default ``$XDG_CACHE_HOME/firstlight``, else ``~/.cache/firstlight``.
        augment: as in :class:`ImageDataModule`.
        on_device: as in :class:`ImageDataModule`.
        batch_size: training images per step and process.

    Raises:
        DataError: the folder is missing, has fewer than two classes, or holds images that cannot be read.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        mode: Literal["RGB", "L"] = "RGB",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        val_share: float = 0.1,
        test_share: float = 0.1,
        split_seed: int = 42,
        skip_unreadable: bool = False,
        max_pixels: int = MAX_PIXELS,
        cache: str | None = None,
        augment: list[nn.Module] | None = None,
        on_device: bool | None = None,
        batch_size: int = 128,
    ):
        super().__init__(augment, on_device, batch_size)
        for name, value in {"val_share": val_share, "test_share": test_share}.items():
            if not 0 < value < 1:
                raise ValueError(f"{name} must be in (0, 1), got {value}")
        if image_size < 1:
            raise ValueError(f"image_size must be >= 1, got {image_size}")
        self.root = Path(root)
        self.image_size = image_size
        self.mode = mode
        self.val_share = val_share
        self.test_share = test_share
        self.split_seed = split_seed
        self.skip_unreadable = skip_unreadable
        self.max_pixels = max_pixels
        self.cache = Path(cache).expanduser() if cache else cache_folder()
        num_channels = len(mode)
        self.sample_shape = [num_channels, image_size, image_size]
        self.mean = list(mean or (IMAGENET_MEAN if mode == "RGB" else GREY_MEAN_STD[:1]))
        self.std = list(std or (IMAGENET_STD if mode == "RGB" else GREY_MEAN_STD[1:]))
        self.class_names = self._find_classes()
        self.num_classes = len(self.class_names)

    def _find_classes(self) -> list[str]:
        if not self.root.is_dir():
            raise DataError(f"root {self.root} is not a folder: name one that holds a folder of images for each class")
        self.has_parts = (self.root / "train").is_dir()
        folder = self.root / "train" if self.has_parts else self.root
        names = class_folders(folder)
        if not image_files(folder):
            raise DataError(f"{folder} holds no image ({', '.join(EXTENSIONS[:4])}, ...)")
        if len(names) < 2:
            raise DataError(f"{folder} needs one folder for each of two or more classes, found {names}")
        return names

    def listings(self) -> dict[str, Listing]:
        """The files of the training, validation and test part, from the folder as it is now."""
        if self.has_parts:
            names = [name for name in ("train", "val", "test") if (self.root / name).is_dir()]
            parts = {name: list_part(self.root / name, self.class_names) for name in names}
        else:
            parts = {"train": list_part(self.root, self.class_names)}
        for name, share in {"test": self.test_share, "val": self.val_share}.items():
            if name not in parts:
                parts["train"], parts[name] = self._cut(parts["train"], share)
        return parts

    def _cut(self, part: Listing, share: float) -> tuple[Listing, Listing]:
        """The part without a share of each class, and that share."""
        counts = np.bincount(part.targets)
        if counts.min() * min(share, 1 - share) < 1:
            few = self.class_names[counts.argmin()]
            raise DataError(f"{self.root}: class {few!r} has {counts.min()} images, too few to cut a share of {share}")
        rows = np.arange(len(part.paths))
        stay, go = train_test_split(rows, test_size=share, random_state=self.split_seed, stratify=part.targets)
        return part.rows(np.sort(stay)), part.rows(np.sort(go))

    def prepare_data(self) -> None:
        """Decode all images into the cache, unless it holds them as they are now."""
        listings = self.listings()
        folder = self._cache_folder(listings)
        if folder.exists():
            return
        with locked(folder.parent.with_suffix(".lock")):
            if not folder.exists():
                self._build(folder, listings)

    def _build(self, folder: Path, listings: dict[str, Listing]) -> None:
        """Decode into a folder that appears when it is complete; what earlier states of the images left is removed."""
        for earlier in folder.parent.glob("*/"):
            shutil.rmtree(earlier, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            targets = {name: self._decode(name, listing, building) for name, listing in listings.items()}
            np.savez(building / "targets.npz", **targets)
            building.rename(folder)
        except BaseException:
            shutil.rmtree(building)
            raise

    def _cache_folder(self, listings: dict[str, Listing]) -> Path:
        """A folder named by everything that its contents depend on."""
        settings = [CACHE_VERSION, self.image_size, self.mode, self.skip_unreadable, self.max_pixels]
        split = [self.val_share, self.test_share, self.split_seed]
        place = hashlib.sha256(json.dumps([str(self.root.resolve()), *settings, *split]).encode()).hexdigest()[:16]
        state = hashlib.sha256()
        for path in (path for listing in listings.values() for path in listing.paths):
            facts = path.stat()
            state.update(f"{path.relative_to(self.root)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
        return self.cache / place / state.hexdigest()[:16]

    def _decode(self, name: str, listing: Listing, folder: Path) -> np.ndarray:
        """Write a part's readable images to ``<name>.npy`` (N, C, S, S); return their targets (N,)."""
        shape = (len(listing.paths), *self.sample_shape)
        samples = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, shape)
        unreadable = {}
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            decoded = _progress(pool.map(self._read, listing.paths), f"decoding {self.root.name}/{name}", shape[0])
            for i, image in enumerate(decoded):
                if isinstance(image, UnreadableImageError):
                    unreadable[i] = image
                else:
                    samples[i] = image
        samples.flush()
        if not unreadable:
            return np.asarray(listing.targets)
        self._report(list(unreadable.values()))
        kept = np.setdiff1d(np.arange(shape[0]), list(unreadable))
        np.save(folder / f"{name}.npy", samples[kept])
        return np.asarray(listing.targets)[kept]

    def _read(self, path: Path) -> np.ndarray | UnreadableImageError:
        try:
            return read_image(path, self.image_size, self.mode, self.max_pixels)
        except UnreadableImageError as error:
            return error

    def _report(self, unreadable: list[UnreadableImageError]) -> None:
        if not self.skip_unreadable:
            more = f", and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
            raise DataError(f"{unreadable[0]}{more}: mend or remove, or leave out with --data.skip_unreadable true")
        for error in unreadable:
            print(f"left out: {error}", file=sys.stderr)

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """The three parts, memory-mapped."""
        folder = self._cache_folder(self.listings())
        with np.load(folder / "targets.npz") as targets:
            train, val, test = (_open(folder, name, targets[name]) for name in ("train", "val", "test"))
        return train, val, test


def _open(folder: Path, name: str, targets: np.ndarray) -> InMemoryDataset:
    samples = np.load(folder / f"{name}.npy", mmap_mode="c")  # copy on write: torch warns of read-only memory
    return InMemoryDataset(torch.from_numpy(samples), torch.from_numpy(targets))


def _progress(images: Iterable, title: str, total: int) -> Iterable:
    return track(images, title, total, disable=not sys.stderr.isatty())

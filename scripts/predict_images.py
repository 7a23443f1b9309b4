"""``firstlight predict --run DIR --images FOLDER``: a trained model's classes for your own pictures."""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from datamodules.image_folder import UnreadableImageError, decode, image_files, read_image, to_array
from scripts.errors import Parser, UsageError
from scripts.trained import Trained, load_run

BATCH_SIZE = 256
DIGITS = [str(digit) for digit in range(10)]
MARGINS = {8: 0, 28: 4}  # black pixels around a digit: none in scikit-learn's 8 x 8 images, 4 in MNIST's 28 x 28
INK = 80  # of 255, after the contrast is stretched: brighter is ink


@dataclass
class Picture:
    """Pixels (C, S, S) uint8 of a file, and whether dark ink on light paper was inverted."""

    path: Path
    pixels: np.ndarray
    inverted: bool


def find_pictures(folder: str) -> list[Path]:
    """Every picture in a folder, at any depth, or the one that is named.

    Raises:
        UsageError: there is none.
    """
    path = Path(folder)
    if not path.exists():
        raise UsageError(f"--images {folder} does not exist")
    found = [path] if path.is_file() else image_files(path)
    if not found:
        raise UsageError(f"--images {folder} holds no picture: .png, .jpg, .webp, ...")
    return found


def is_light(image: Image.Image) -> bool:
    """Whether the paper, which is what the outermost pixels of a grey image mostly show, is light."""
    pixels = np.asarray(image)
    return bool(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])) > 127)


def frame_digit(image: Image.Image, size: int) -> Image.Image:
    """Light ink on black, enlarged to fill what the training digits fill of their ``size`` pixels."""
    stretched = ImageOps.autocontrast(image)
    box = stretched.point(lambda value: 255 * (value > INK)).getbbox() or (0, 0, *image.size)
    inner = size - 2 * MARGINS.get(size, size // 7)
    digit = ImageOps.pad(stretched.crop(box), (inner, inner), Image.Resampling.BOX, color=0)
    return ImageOps.expand(digit, (size - inner) // 2, fill=0)


def read_picture(path: Path, trained: Trained) -> Picture:
    """Decode a picture as the model's training images were: its size, its channels; digits light on black."""
    num_channels, size, _ = trained.sample_shape
    if trained.class_names != DIGITS or num_channels != 1:
        return Picture(path, read_image(path, size, "L" if num_channels == 1 else "RGB"), inverted=False)
    image = decode(path, "L")
    light = is_light(image)
    return Picture(path, to_array(frame_digit(ImageOps.invert(image) if light else image, size)), light)


def read_all(paths: list[Path], trained: Trained) -> Iterator[Picture]:
    """The pictures that can be read; the others are named on standard error."""
    for path in paths:
        try:
            yield read_picture(path, trained)
        except UnreadableImageError as error:  # noqa: PERF203
            print(f"left out: {error}", file=sys.stderr)


def probabilities(trained: Trained, pictures: list[Picture]) -> Tensor:
    """Class probabilities (N, C)."""
    samples = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
    with torch.no_grad():
        return torch.cat([trained.model(batch).softmax(dim=1) for batch in samples.split(BATCH_SIZE)])


def write_table(path: Path, root: Path, pictures: list[Picture], shares: Tensor, names: list[str]) -> None:
    """One row a picture: file, class, confidence, and the three likeliest classes with theirs."""
    best = shares.topk(min(3, len(names)), dim=1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "confidence", "top3", "inverted"])
        for picture, values, classes in zip(pictures, best.values.tolist(), best.indices.tolist(), strict=True):
            top = " ".join(f"{names[k]}:{value:.4f}" for k, value in zip(classes, values, strict=True))
            name = picture.path.relative_to(root) if picture.path != root else picture.path.name
            writer.writerow([name, names[classes[0]], f"{values[0]:.4f}", top, picture.inverted])


def main(command: str, options: list[str]) -> Path:
    """Write ``predictions.csv`` into the run's directory.

    Raises:
        UsageError: no such run or folder, a model that takes no images, or no picture that can be read.
    """
    parser = Parser(prog=f"firstlight {command}", description=__doc__)
    parser.add_argument("--run", required=True, metavar="DIR", help="directory of the run")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="folder of pictures, or one picture")
    parser.add_argument("--output", metavar="FILE", help="default: predictions.csv in the run's directory")
    args = parser.parse_args(options)
    trained = load_run(args.run)
    if len(trained.sample_shape) != 3:
        raise UsageError(f"the model of {args.run} takes samples of shape {trained.sample_shape}, not images")
    pictures = list(read_all(find_pictures(args.images), trained))
    if not pictures:
        raise UsageError(f"--images {args.images}: none of its pictures can be read")
    path = Path(args.output or Path(args.run, "predictions.csv"))
    write_table(path, Path(args.images), pictures, probabilities(trained, pictures), trained.class_names)
    inverted = sum(picture.inverted for picture in pictures)
    if inverted:
        print(f"{inverted} of {len(pictures)} pictures show dark ink on light paper and were inverted")
    print(f"{len(pictures)} pictures\n-> {path}")
    return path

"""One epoch of report D's MNIST network: the bare loop, firstlight with everything on, the course-style loop.

Random images of MNIST's size and number, so that no download is needed; the arithmetic is the same. ``bare`` is
the least a loop can do: normalised float tensors in memory, fused Adam, no validation, nothing logged. ``course``
is what tutorials show: a data set of pictures, ToTensor and Normalize per sample, a DataLoader. ``firstlight``
also validates, logs, keeps its history and saves two checkpoints.

    python -m benchmarks.mnist_epoch [--rounds 5]
"""

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from datamodules import InMemoryDataModule, InMemoryDataset
from scripts.main import main as firstlight

BATCH_SIZE = 64
NUM_TRAIN = 55_000
CONFIG = Path(__file__).parent.parent / "configs/mnist/mlp.yaml"


class RandomMNIST(InMemoryDataModule):
    """A thousand random images over and over, in MNIST's numbers: no slower to have than MNIST itself."""

    sample_shape = [1, 28, 28]
    num_classes = 10
    class_names = [str(digit) for digit in range(10)]
    mean = [0.1307]
    std = [0.3081]

    def __init__(self, batch_size: int = BATCH_SIZE):
        super().__init__(batch_size)

    def load(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(256, (1_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
        return tuple(
            InMemoryDataset(images.repeat(n // 1_000, 1, 1, 1), torch.randint(10, (n,), generator=generator))
            for n in (NUM_TRAIN, 5_000, 10_000)
        )


class Pictures(Dataset):
    """One PIL image at a time, as torchvision's data sets give them."""

    def __init__(self, dataset: InMemoryDataset):
        self.images = dataset.samples.squeeze(1).numpy()
        self.targets = dataset.targets.tolist()
        self.transform = v2.Compose(
            [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(RandomMNIST.mean, RandomMNIST.std)]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index])), self.targets[index]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def bare_epoch(train: InMemoryDataset) -> float:
    samples = ((train.samples / 255) - RandomMNIST.mean[0]) / RandomMNIST.std[0]
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    started = time.perf_counter()
    for batch in torch.randperm(len(train)).split(BATCH_SIZE):
        loss = F.cross_entropy(net(samples[batch]), train.targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - started


def course_epoch(train: InMemoryDataset) -> float:
    loader = DataLoader(Pictures(train), batch_size=BATCH_SIZE, shuffle=True)
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    started = time.perf_counter()
    running_loss, correct = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        outputs = net(images)
        loss = F.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        correct += (outputs.argmax(dim=1) == labels).sum().item()
    return time.perf_counter() - started


def firstlight_epoch(folder: str, number: int) -> float:
    """The second of two epochs: training, validation, history and both checkpoints."""
    run = Path(folder, str(number))
    options = ["--data", "benchmarks.mnist_epoch.RandomMNIST", "--trainer.max_epochs", "2", "--new_run", str(run)]
    firstlight(["fit", "-c", str(CONFIG), "--trainer.accelerator", "cpu", *options])
    with (run / "history.csv").open() as file:
        first, second = (float(row["seconds"]) for row in csv.DictReader(file))
    return second - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    data = RandomMNIST()
    data.setup()
    seconds: dict[str, list[float]] = {"bare": [], "firstlight": [], "course": []}
    bare_epoch(data.train_set)  # warm up
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            seconds["bare"].append(bare_epoch(data.train_set))
            seconds["firstlight"].append(firstlight_epoch(folder, number))
            seconds["course"].append(course_epoch(data.train_set))
    table = Table(title=f"One MNIST epoch, {rounds} rounds, {torch.get_num_threads()} threads", title_justify="left")
    for column in ("loop", "median seconds", "fastest", "ratio of medians to bare"):
        table.add_column(column, justify="left" if column == "loop" else "right")
    bare = statistics.median(seconds["bare"])
    for name, values in seconds.items():
        median = statistics.median(values)
        table.add_row(name, f"{median:.2f}", f"{min(values):.2f}", f"{median / bare:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()

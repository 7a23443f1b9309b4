"""A training step of report B's VGG: bfloat16 autocast against float32, both channels-last, on random images.

    python -m benchmarks.bf16_vgg [--rounds 8]

Worth having where the processor has AVX512_BF16 or AMX; without, bfloat16 is slower.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
import yaml
from torch import nn

from lit_models import LitCNN

CONFIG = Path(__file__).parent.parent / "configs/cifar10/b_vgg.yaml"
BATCH_SIZE = 128


def step_seconds(model: LitCNN, bfloat16: bool) -> float:
    images, targets = torch.randint(256, (BATCH_SIZE, 3, 32, 32), dtype=torch.uint8), torch.arange(BATCH_SIZE) % 10
    started = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        loss = nn.functional.cross_entropy(model(images), targets)
    loss.backward()
    model.zero_grad()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    layers = yaml.safe_load(CONFIG.read_text())["model"]["init_args"]["layers"]
    model = LitCNN([3, 32, 32], 10, [0.5] * 3, [0.25] * 3, layers=layers)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds + 1):  # in turn, so that a busy machine slows both; the first of each warms up
        for bfloat16, times in seconds.items():
            times.append(step_seconds(model, bfloat16))
    fast, plain = (statistics.median(times[1:]) for times in seconds.values())
    print(f"float32 {1000 * plain:.0f} ms, bfloat16 {1000 * fast:.0f} ms a step: {plain / fast:.2f} times as fast")


if __name__ == "__main__":
    main()

"""A training step of ``VanillaRNN`` against ``torch.nn.RNN`` with the same sizes, in one run.

    python -m benchmarks.rnn_step [threads]

T = 30, batch 128, 128 units, one-hot digits; forward, backward and RMSprop update. The two take turns, so a busy
machine slows both; the median of the ratios of neighbours is what counts.
"""

import statistics
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_models.rnn import VanillaRNN

T, BATCH, HIDDEN, DIGITS = 30, 128, 128, 10
ROUNDS, STEPS = 60, 5


class LibraryRNN(nn.Module):
    """``torch.nn.RNN`` with a linear readout of the last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(DIGITS, HIDDEN, batch_first=True)
        self.readout = nn.Linear(HIDDEN, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.readout(states[:, -1])


def milliseconds_a_step(net: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer) -> float:
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return (time.perf_counter() - start) / STEPS * 1e3


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(int(sys.argv[1]))
    digits = torch.randint(DIGITS, (BATCH, T))
    x, y = F.one_hot(digits, DIGITS).float(), digits[:, 0]
    nets = {"VanillaRNN": VanillaRNN(DIGITS, DIGITS, HIDDEN), "torch.nn.RNN": LibraryRNN()}
    optimizers = {name: torch.optim.RMSprop(net.parameters(), lr=1e-4) for name, net in nets.items()}
    times = {name: [] for name in nets}
    for _ in range(ROUNDS + 1):
        for name, net in nets.items():
            times[name].append(milliseconds_a_step(net, x, y, optimizers[name]))
    ours, library = (times[name][1:] for name in nets)  # the first round warms up
    ratio = statistics.median(a / b for a, b in zip(ours, library, strict=True))
    print(f"T = {T}, batch {BATCH}, {HIDDEN} units, {torch.get_num_threads()} thread(s)")
    for name, rounds in (("VanillaRNN", ours), ("torch.nn.RNN", library)):
        print(f"{name:13} {statistics.median(rounds):6.2f} ms a step")
    print(f"ratio         {ratio:6.2f}")


if __name__ == "__main__":
    main()

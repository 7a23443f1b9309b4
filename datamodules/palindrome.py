"""Palindromes of digits: read all but the last digit, predict the last, which is the first one again."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from datamodules.in_memory import InMemoryDataModule, InMemoryDataset

DrawEpoch = Callable[[int], tuple[Tensor, Tensor]]


def draw_palindromes(num: int, length: int, base: int, check_digits: list[int], generator: torch.Generator) -> Tensor:
    """Draw palindromes (num, length) int64, uniformly among those whose check digit is one of ``check_digits``.

    The check digit is the sum of the first half modulo ``base``; the first half of an odd length includes the
    middle digit. So palindromes of different check digits differ in their first halves, at any length >= 3. All
    digits but the last of the first half are free, so the first digit, the target, is uniform in every split.
    """
    half = torch.randint(base, (num, (length + 1) // 2), generator=generator)
    check = torch.tensor(check_digits)[torch.randint(len(check_digits), (num,), generator=generator)]
    half[:, -1] = (check - half[:, :-1].sum(dim=1)) % base
    return torch.cat([half, half[:, : length // 2].flip(dims=[1])], dim=1)


class FreshDataset(InMemoryDataset):
    """Samples and targets that :meth:`redraw` replaces by those of an epoch; ``draw`` is a function of the epoch."""

    def __init__(self, draw: DrawEpoch):
        self.draw = draw
        super().__init__(*draw(0))

    def redraw(self, epoch: int) -> None:
        """Replace all samples."""
        self.samples, self.targets = self.draw(epoch)


class RedrawingSampler(DistributedSampler):
    """Has its :class:`FreshDataset` redrawn when the trainer announces an epoch.

    Every rank draws the whole epoch from the same seed and takes its n-th samples, so no two ranks train on the
    same draw.
    """

    def set_epoch(self, epoch: int) -> None:
        """Redraw, then order."""
        super().set_epoch(epoch)
        self.dataset.redraw(epoch)


class PalindromeDataModule(InMemoryDataModule):
    """Palindromes of ``length`` digits: sample (length - 1,) int64 digits, target the last digit.

    The last digit equals the first, and no other digit says anything about it: the task asks how far a network
    remembers. Generated, nothing is read from disk.

    The three sets differ in their first halves, so no test palindrome was ever trained on: a palindrome belongs to
    the test set if the sum of its first half modulo ``base`` is base - 1, to the validation set if it is base - 2,
    and to the training set otherwise. Within a set sequences may repeat, and at small lengths they must: of the 100
    palindromes of length 3 or 4, 80 are the training set, 10 the validation and 10 the test set.

    Args:
        length: digits of a palindrome, the predicted one included, >= 3.
        num_sequences: sequences of the three sets together; with ``fresh``, of one epoch.
        base: number of different digits, >= 3.
        seed: of the draw; not the training seed.
        split: shares of the training, validation and test sequences; they sum to 1.
        fresh: draw new training sequences each epoch, as a function of (``seed``, epoch), so that a resumed run
            repeats the undisturbed one.
        start_length: with ``fresh``, a curriculum: the training sequences of epoch e have one length, drawn uniformly
            from [U/2, U] with U = start_length * length_growth^e, at most ``length``. Validation and test sequences
            always have ``length`` digits. None: so have the training sequences.
        length_growth: see ``start_length``, >= 1.
        batch_size: training sequences per step and process.
        eval_batch_size: validation, test and prediction sequences per step and process.

    Raises:
        ValueError: an argument is out of its bounds.
    """

    def __init__(
        self,
        length: int = 5,
        num_sequences: int = 100_000,
        base: int = 10,
        seed: int = 42,
        split: list[float] = (0.8, 0.1, 0.1),
        fresh: bool = False,
        start_length: int | None = None,
        length_growth: float = 1.05,
        batch_size: int = 128,
        eval_batch_size: int = 1024,
    ):
        super().__init__(batch_size, eval_batch_size)
        for name, value, least in [
            ("length", length, 3),
            ("num_sequences", num_sequences, 10),
            ("base", base, 3),
            ("seed", seed, 0),
        ]:
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
        if len(split) != 3 or min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(f"split must be three shares > 0 that sum to 1, got {list(split)}")
        if start_length is not None and not (fresh and 3 <= start_length <= length):
            raise ValueError(f"start_length needs fresh and must be in [3, length = {length}], got {start_length}")
        if length_growth < 1:
            raise ValueError(f"length_growth must be >= 1, got {length_growth}")
        self.length = length
        self.start_length = start_length
        self.length_growth = length_growth
        self.base = base
        self.seed = seed
        self.fresh = fresh
        num_val, num_test = (max(1, round(share * num_sequences)) for share in split[1:])
        self.sizes = (num_sequences - num_val - num_test, num_val, num_test)
        self.sample_shape = [length - 1]
        self.num_classes = base
        self.class_names = [str(digit) for digit in range(base)]
        self.mean = [0.0]
        self.std = [1.0]

    def draw(self, split: int, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """Samples (N, T - 1) and targets (N,) of the training (0), validation (1) or test set (2)."""
        check_digits = [list(range(self.base - 2)), [self.base - 2], [self.base - 1]][split]
        seed = int(np.random.SeedSequence([self.seed, split, epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        length = self.length if split or self.start_length is None else self._draw_length(epoch, generator)
        digits = draw_palindromes(self.sizes[split], length, self.base, check_digits, generator)
        return digits[:, :-1], digits[:, -1]

    def _draw_length(self, epoch: int, generator: torch.Generator) -> int:
        growth = math.log(self.start_length) + epoch * math.log(self.length_growth)
        longest = round(math.exp(min(growth, math.log(self.length))))
        return int(torch.randint(max(3, longest // 2), longest + 1, (), generator=generator))

    def _draw_train(self, epoch: int) -> tuple[Tensor, Tensor]:
        return self.draw(0, epoch)

    def load(self) -> tuple[InMemoryDataset, InMemoryDataset, InMemoryDataset]:
        """Draw the three sets; the training set is redrawn each epoch if ``fresh``."""
        train = FreshDataset(self._draw_train) if self.fresh else InMemoryDataset(*self.draw(0))
        return train, InMemoryDataset(*self.draw(1)), InMemoryDataset(*self.draw(2))

    def train_dataloader(self) -> DataLoader:
        """Shuffled by (seed, epoch), or redrawn by (``self.seed``, epoch)."""
        if not self.fresh:
            return super().train_dataloader()
        world_size, rank = self._world()
        sampler = RedrawingSampler(self.train_set, num_replicas=world_size, rank=rank, shuffle=False)
        return self._loader(self.train_set, sampler, self.batch_size)

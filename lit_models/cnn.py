"""Convolutional networks: those of the reports, layer by layer, and a fast one of our own."""

import math
import re
from functools import partial
from typing import Literal

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchvision.transforms import v2

from lit_models.classifier import LitClassifier
from lit_models.normalize import Normalize

WORD = re.compile(
    r"(?P<kind>conv|maxpool|avgpool)(?P<kernel>\d+)(?:-(?P<channels>\d+))?(?:/(?P<stride>\d+))?(?:\+(?P<padding>\d+))?"
    r"|linear-(?P<width>\d+)|dropout-(?P<share>0?\.\d+)|(?P<plain>batchnorm|relu|gelu|flatten)"
)
PLAIN = {"relu": nn.ReLU, "gelu": nn.GELU, "flatten": nn.Flatten}


def layer(word: str, shape: torch.Size) -> nn.Module:
    """Build the layer that a word names, for input of ``shape`` (C, H, W) or (D,).

    ``conv3-64`` is a 3 × 3 convolution to 64 channels, padded so that stride 1 keeps the size, ``conv3-64/2`` one
    of stride 2. ``maxpool2`` and ``avgpool2`` have stride 2 by default, ``maxpool3/2+1`` one of 2 and padding 1.
    ``linear-128``, ``dropout-0.5``, ``batchnorm``, ``relu``, ``gelu`` and ``flatten`` are what they say.

    Raises:
        ValueError: the word names no layer.
    """
    found = WORD.fullmatch(word)
    if not found or (found["kind"] == "conv") != (found["channels"] is not None):
        raise ValueError(f"{word!r} is no layer like conv3-64, conv3-64/2, maxpool2, maxpool3/2+1, linear-128, relu")
    if found["width"]:
        return nn.Linear(shape[0], int(found["width"]))
    if found["share"]:
        return nn.Dropout(float(found["share"]))
    if found["plain"] == "batchnorm":
        return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
    if found["plain"]:
        return PLAIN[found["plain"]]()
    kernel = int(found["kernel"])
    if found["kind"] == "conv":
        padding = int(found["padding"]) if found["padding"] else kernel // 2
        return nn.Conv2d(shape[0], int(found["channels"]), kernel, int(found["stride"] or 1), padding)
    pool = nn.MaxPool2d if found["kind"] == "maxpool" else nn.AvgPool2d
    return pool(kernel, int(found["stride"] or kernel), int(found["padding"] or 0))


class CNN(nn.Sequential):
    """The layers that ``layers`` names, after normalisation and before a linear layer to the logits.

    The words are those in which the VGG paper (K. Simonyan and A. Zisserman, 2015) writes its table; :func:`layer`
    explains them.

    Args:
        sample_shape: (C, H, W).
        num_classes: number of logits.
        mean: of the samples, per channel.
        std: likewise.
        layers: words, first to last, without the final linear layer.

    Shapes: (B, C, H, W) -> (B, num_classes).

    Raises:
        ValueError: a word names no layer, or a layer does not fit what comes before it; says which.
    """

    def __init__(
        self, sample_shape: list[int], num_classes: int, mean: list[float], std: list[float], layers: list[str]
    ):
        super().__init__(Normalize(mean, std))
        x = torch.zeros(1, *sample_shape)
        for i, word in enumerate(layers):
            x = self._append(i, word, x)
        if x.ndim != 2:
            raise ValueError(f"layers must end in features, not in shape {list(x.shape[1:])}: add flatten")
        self.append(nn.Linear(x.shape[1], num_classes))
        self.train()

    def _append(self, i: int, word: str, x: Tensor) -> Tensor:
        """Add a layer and return what it makes of x."""
        try:
            self.append(layer(word, x.shape[1:]))
            with torch.no_grad():
                return self[-1].eval()(x)
        except (ValueError, RuntimeError, IndexError) as error:
            raise ValueError(f"layers[{i}]: {error} (its input has shape {list(x.shape[1:])})") from error


class HaarStem(nn.Module):
    """Fixed 2 × 2 Haar filters in a fixed colour basis, each scaled to variance 1, with both signs: a whitening.

    Patches of natural images are decorrelated to a good part by sums and differences, of neighbouring pixels and
    of channels (a discrete cosine transform). Batch normalisation without weights then gives each coefficient
    variance 1, except where it is below ``eps``. So the first layer is whitened, as in K. Jordan, "94% on CIFAR-10
    in 3.29 seconds on a single GPU" (2024), with no look at the data before training.

    Shapes: (B, C, H, W) -> (B, 8 C, H - 1, W - 1).
    """

    def __init__(self, in_channels: int, eps: float = 5e-4, momentum: float = 0.4):
        super().__init__()
        haar = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
        k = torch.arange(in_channels, dtype=torch.float)
        cosine = torch.cos(math.pi * (k + 0.5) * k[:, None] / in_channels)
        cosine = cosine / cosine.norm(dim=1, keepdim=True)
        filters = torch.einsum("ap,bq,kc->abkcpq", haar, haar, cosine).reshape(-1, in_channels, 2, 2)
        self.convolution = nn.Conv2d(in_channels, len(filters), 2, bias=False)
        self.convolution.weight = nn.Parameter(filters, requires_grad=False)
        self.norm = nn.BatchNorm2d(len(filters), eps=eps, momentum=momentum, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 8 C, H - 1, W - 1)."""
        coefficients = self.norm(self.convolution(x))
        return torch.cat([coefficients, -coefficients], dim=1)


class FastCNN(nn.Sequential):
    """Haar stem, then one block for each width: conv3 - maxpool2 - norm - GELU - conv3 - norm - GELU; global max pool.

    After K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (2024), whose network of widths 64, 256, 256
    it is but for the stem. Convolutions start as partial identities, norms have no gain, logits are scaled down.

    Args:
        sample_shape: (C, H, W).
        num_classes: number of logits.
        mean: of the samples, per channel.
        std: likewise.
        widths: channels of each block.
        norm_momentum: share of the newest batch in the norms' running statistics, in (0, 1].
        logit_scale: factor before the softmax, > 0.
        test_time_views: outside of training, return the mean logits of the image (1), of it and its mirror image (2),
            or of both in place and moved by one pixel, up and left or down and right (6).

    Shapes: (B, C, H, W) -> (B, num_classes).
    """

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        widths: list[int],
        norm_momentum: float = 0.4,
        logit_scale: float = 1 / 9,
        test_time_views: int = 1,
    ):
        if test_time_views not in (1, 2, 6):
            raise ValueError(f"test_time_views must be 1, 2 or 6, got {test_time_views}")
        if min(sample_shape[1:]) <= 2 ** len(widths):
            raise ValueError(f"{len(widths)} widths need images of side > {2 ** len(widths)}, got {sample_shape}")
        for i, width in enumerate(widths):
            if width < 1:
                raise ValueError(f"widths[{i}] must be >= 1, got {width}")
        channels = 8 * sample_shape[0]
        super().__init__(Normalize(mean, std), HaarStem(sample_shape[0], momentum=norm_momentum), nn.GELU())
        for width in widths:
            self.extend(_block(channels, width, norm_momentum))
            channels = width
        self.extend([nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes, bias=False)])
        self.append(Scale(logit_scale))
        self.test_time_views = test_time_views

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        if self.training or self.test_time_views == 1:
            return super().forward(x)
        views = [x]
        if self.test_time_views == 6:
            framed = v2.functional.pad(x, [1], padding_mode="reflect")
            views += [framed[..., 2:, 2:], framed[..., :-2, :-2]]
        views += [view.flip(-1) for view in views]
        return sum(super(FastCNN, self).forward(view) for view in views) / len(views)


def _block(channels: int, width: int, momentum: float) -> list[nn.Module]:
    pooled = [_convolution(channels, width), nn.MaxPool2d(2), _norm(width, momentum), nn.GELU()]
    return [*pooled, _convolution(width, width), _norm(width, momentum), nn.GELU()]


def _convolution(channels: int, width: int) -> nn.Conv2d:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:channels])  # the first outputs repeat the inputs
    return convolution


def _norm(width: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm


class Scale(nn.Module):
    """y = factor * x."""

    def __init__(self, factor: float):
        super().__init__()
        if not factor > 0:
            raise ValueError(f"factor must be > 0, got {factor}")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same."""
        return self.factor * x


class LitConvNet(LitClassifier):
    """What the convolutional networks share: weights and images in the channels-last order, unless switched off.

    On processors with AVX-512 and on GPUs with tensor cores that order is the faster one; results are the same.
    """

    def _keep(self, net: nn.Module, channels_last: bool) -> None:
        """Keep the network as ``self.net``."""
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=self.memory_format)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        return self.net(x.contiguous(memory_format=self.memory_format))


class LitCNN(LitConvNet):
    """A :class:`CNN` with its training; arguments as in :class:`CNN` and :class:`LitClassifier`.

    Args:
        channels_last: hold weights and images in the channels-last memory order.
    """

    net: CNN

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        layers: list[str],
        channels_last: bool = True,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__(sample_shape, num_classes, mean, std, optimizer, lr_scheduler, lr_interval, label_smoothing)
        self._keep(CNN(sample_shape, num_classes, mean, std, layers), channels_last)


class LitFastCNN(LitConvNet):
    """A :class:`FastCNN` with its training; arguments as in :class:`FastCNN` and :class:`LitClassifier`.

    Args:
        bias_lr_factor: the learning rate of the norms' biases as a multiple of the convolutions', > 0; their weight
            decay is divided by it, so that the product of the two, which is what decays a weight, is the same.
        early_side: side in pixels that training images are shrunk to at first, which costs less; None: never.
        early_epochs: how many epochs see the shrunk images.
        channels_last: hold weights and images in the channels-last memory order.
    """

    net: FastCNN

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        widths: list[int],
        norm_momentum: float = 0.4,
        logit_scale: float = 1 / 9,
        test_time_views: int = 1,
        bias_lr_factor: float = 1.0,
        early_side: int | None = None,
        early_epochs: int = 0,
        channels_last: bool = True,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__(sample_shape, num_classes, mean, std, optimizer, lr_scheduler, lr_interval, label_smoothing)
        if not bias_lr_factor > 0:
            raise ValueError(f"bias_lr_factor must be > 0, got {bias_lr_factor}")
        if early_epochs < 0:
            raise ValueError(f"early_epochs must be >= 0, got {early_epochs}")
        if early_side is not None and not 2 ** len(widths) < early_side <= min(sample_shape[1:]):
            raise ValueError(
                f"early_side must be > {2 ** len(widths)} and <= {min(sample_shape[1:])}, got {early_side}"
            )
        self.bias_lr_factor = bias_lr_factor
        self.early_side = early_side
        self.early_epochs = early_epochs
        self.make_optimizer = partial(self._with_two_rates, optimizer)
        net = FastCNN(sample_shape, num_classes, mean, std, widths, norm_momentum, logit_scale, test_time_views)
        self._keep(net, channels_last)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch, shrunk in the first epochs."""
        if self.early_side is not None and self.current_epoch < self.early_epochs:
            images, targets = batch
            batch = v2.functional.resize(images, [self.early_side] * 2, antialias=True), targets
        return super().training_step(batch, batch_idx)

    def _with_two_rates(self, make_optimizer: OptimizerCallable, parameters: object) -> torch.optim.Optimizer:
        """The optimiser of all trained weights, and of the norms' biases at their own rate."""
        trained = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        weights = [parameter for parameter in trained if parameter.ndim > 1]
        biases = [parameter for parameter in trained if parameter.ndim == 1]
        optimizer = make_optimizer([{"params": weights}, {"params": biases}])
        optimizer.param_groups[1]["lr"] *= self.bias_lr_factor
        optimizer.param_groups[1]["weight_decay"] /= self.bias_lr_factor
        return optimizer

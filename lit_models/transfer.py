"""Transfer learning: a backbone trained on ImageNet, and a new head."""

from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal
from urllib.error import URLError

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torchvision import models

from lit_models.cnn import LitConvNet
from lit_models.normalize import Normalize

Backbone = Literal["resnet18", "vgg16"]
WEIGHTS = {"resnet18": models.ResNet18_Weights.IMAGENET1K_V1, "vgg16": models.VGG16_Weights.IMAGENET1K_V1}


class TransferNet(nn.Module):
    """A torchvision network whose last linear layer is replaced: head(backbone(resize(normalise(x)))).

    Sources: K. He et al., "Deep residual learning for image recognition", 2016; K. Simonyan and A. Zisserman,
    "Very deep convolutional networks for large-scale image recognition", 2015; weights as torchvision publishes them.

    Args:
        sample_shape: (C, H, W) with C = 1 or 3; one channel is shown to the backbone three times.
        num_classes: number of logits.
        mean: of the samples, per channel; with ImageNet weights, best ImageNet's.
        std: likewise.
        backbone: ``resnet18`` (512 features) or ``vgg16`` (4,096 features).
        resize: side that images are enlarged to, in pixels; None leaves them.

    Shapes: (B, C, H, W) -> (B, num_classes).
    """

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        backbone: Backbone = "resnet18",
        resize: int | None = None,
    ):
        super().__init__()
        if sample_shape[0] not in (1, 3):
            raise ValueError(f"sample_shape[0] must be 1 or 3 channels, got {sample_shape[0]}")
        if resize is not None and resize < 32:
            raise ValueError(f"resize must be >= 32, got {resize}")
        self.normalize = Normalize(mean, std)
        self.resize = nn.Upsample((resize, resize), mode="bilinear") if resize else nn.Identity()
        self.backbone = models.get_model(backbone, weights=None)
        last = self.backbone.fc if backbone == "resnet18" else self.backbone.classifier[-1]
        self.head = nn.Linear(last.in_features, num_classes)
        if backbone == "resnet18":
            self.backbone.fc = nn.Identity()
        else:
            self.backbone.classifier[-1] = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        images = self.resize(self.normalize(x)).expand(-1, 3, -1, -1)
        return self.head(self.backbone(images))


class LitTransfer(LitConvNet):
    """A :class:`TransferNet` that starts from ImageNet weights; arguments as there and in :class:`LitClassifier`.

    The weights are read when training starts, from ``weights_file``, else from ``$TORCH_HOME/hub/checkpoints``
    (default ``~/.cache/torch``), else from torchvision's server; a checkpoint holds them from then on.

    Args:
        pretrained: start from ImageNet weights; False starts from random ones.
        weights_file: a file of weights as torchvision publishes them, for machines without a network.
        freeze: train the head alone; the backbone's weights and running statistics stay as they are.
        backbone_lr_factor: the backbone's learning rate as a multiple of the head's, > 0.
        channels_last: hold weights and images in the channels-last memory order.

    Raises:
        MisconfigurationException: when training starts, if no weights can be had or they do not fit.
    """

    net: TransferNet

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        backbone: Backbone = "resnet18",
        resize: int | None = None,
        pretrained: bool = True,
        weights_file: str | None = None,
        freeze: bool = False,
        backbone_lr_factor: float = 0.1,
        channels_last: bool = True,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
    ):
        super().__init__(sample_shape, num_classes, mean, std, optimizer, lr_scheduler, lr_interval, label_smoothing)
        if not backbone_lr_factor > 0:
            raise ValueError(f"backbone_lr_factor must be > 0, got {backbone_lr_factor}")
        self.backbone_name = backbone
        self.weights_file = weights_file
        self.freeze_backbone = freeze
        self.backbone_lr_factor = backbone_lr_factor
        self.needs_weights = pretrained
        self.make_optimizer = partial(self._with_two_rates, optimizer)
        self._keep(TransferNet(sample_shape, num_classes, mean, std, backbone, resize), channels_last)
        self.net.backbone.requires_grad_(not freeze)

    def _with_two_rates(self, make_optimizer: OptimizerCallable, parameters: object) -> torch.optim.Optimizer:
        """The optimiser of the head's and, unless it is frozen, of the backbone's parameters at its own rate."""
        groups = [{"params": list(self.net.head.parameters())}]
        if not self.freeze_backbone:
            groups.append({"params": list(self.net.backbone.parameters())})
        optimizer = make_optimizer(groups)
        for group in optimizer.param_groups[1:]:
            group["lr"] *= self.backbone_lr_factor
        return optimizer

    def on_train_epoch_start(self) -> None:
        """A frozen backbone trains in evaluation mode: no dropout, and its running statistics do not run."""
        if self.freeze_backbone:
            self.net.backbone.eval()

    def load_state_dict(self, *args: object, **kwargs: object) -> object:
        """As in torch; weights that were loaded are not replaced by ImageNet's."""
        self.needs_weights = False
        return super().load_state_dict(*args, **kwargs)

    def setup(self, stage: str) -> None:
        """Read the backbone's weights before training from the start."""
        if stage == "fit" and self.needs_weights and not self.trainer.ckpt_path:
            self.needs_weights = False
            self._load_backbone()

    def _load_backbone(self) -> None:
        state = self._read_file() if self.weights_file else self._fetch()
        last = "fc" if self.backbone_name == "resnet18" else "classifier.6"
        kept = {name: value for name, value in state.items() if not name.startswith(f"{last}.")}
        try:
            self.net.backbone.load_state_dict(kept)
        except RuntimeError as error:
            source = self.weights_file or WEIGHTS[self.backbone_name].url
            raise MisconfigurationException(f"{source} holds no weights of {self.backbone_name}: {error}") from error

    def _read_file(self) -> dict[str, Tensor]:
        if not Path(self.weights_file).is_file():
            raise MisconfigurationException(f"weights_file {self.weights_file} does not exist")
        try:
            return torch.load(self.weights_file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, LookupError, UnpicklingError) as error:
            raise MisconfigurationException(f"weights_file {self.weights_file} cannot be read: {error}") from error

    def _fetch(self) -> dict[str, Tensor]:
        weights = WEIGHTS[self.backbone_name]
        try:
            return weights.get_state_dict(progress=False, check_hash=True)
        except (URLError, OSError) as error:
            name = weights.url.rsplit("/", 1)[-1]
            folder = str(Path(torch.hub.get_dir(), "checkpoints")).replace(str(Path.home()), "~", 1)
            raise MisconfigurationException(
                f"the ImageNet weights of {self.backbone_name} are not in {folder} and could not be downloaded "
                f"({error}): copy {name} there from a machine with a network, or name a file with "
                "--model.weights_file"
            ) from error

"""Models: the plain ``nn.Module`` and its LightningModule, one file per family."""

from lit_models.classifier import LitClassifier
from lit_models.mlp import MLP, LitMLP
from lit_models.numpy_mlp import LitNumpyMLP, NumpyMLP, NumpySGD

__all__ = ["MLP", "LitClassifier", "LitMLP", "LitNumpyMLP", "NumpyMLP", "NumpySGD"]

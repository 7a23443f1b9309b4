"""Models: the plain ``nn.Module`` and its LightningModule, one file per family."""

from lit_models.classifier import LitClassifier
from lit_models.mlp import MLP, LitMLP
from lit_models.numpy_mlp import LitNumpyMLP, NumpyMLP, NumpySGD
from lit_models.rnn import LitRNN, VanillaRNN

__all__ = ["MLP", "LitClassifier", "LitMLP", "LitNumpyMLP", "LitRNN", "NumpyMLP", "NumpySGD", "VanillaRNN"]

"""Models: the plain ``nn.Module`` and its LightningModule, one file per family."""

from lit_models.classifier import LitClassifier
from lit_models.cnn import CNN, FastCNN, LitCNN, LitFastCNN
from lit_models.mlp import MLP, LitMLP
from lit_models.numpy_mlp import LitNumpyMLP, NumpyMLP, NumpySGD
from lit_models.rnn import LitRNN, VanillaRNN
from lit_models.transfer import LitTransfer

__all__ = [
    "CNN",
    "MLP",
    "FastCNN",
    "LitCNN",
    "LitClassifier",
    "LitFastCNN",
    "LitMLP",
    "LitNumpyMLP",
    "LitRNN",
    "LitTransfer",
    "NumpyMLP",
    "NumpySGD",
    "VanillaRNN",
]

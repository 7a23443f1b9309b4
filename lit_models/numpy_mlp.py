"""The multi-layer perceptron by hand in NumPy: forward, backward and SGD, and its LightningModule.

Read beside ``mlp.py``: same names, same order; each gradient stands beside its formula.
"""

from typing import Literal

import numpy as np
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from scipy.special import erf, expit
from torch import Tensor

from lit_models.mlp import Activation, Initialization, LitMLP


class Linear:
    """y = x Wᵀ + b, with W (out, in) and b (out,) as in ``torch.nn.Linear``."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray):
        self.weight = weight
        self.bias = bias

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(B, in) -> (B, out)."""
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, grad_y: np.ndarray) -> np.ndarray:
        """dL/dy (B, out) -> dL/dx (B, in); keeps dL/dW and dL/db."""
        self.grad_weight = grad_y.T @ self.x  # dL/dW = (dL/dy)ᵀ x
        self.grad_bias = grad_y.sum(axis=0)  # dL/db = Σ_batch dL/dy
        return grad_y @ self.weight  # dL/dx = dL/dy W


class ReLU:
    """h = max(z, 0)."""

    def forward(self, z: np.ndarray) -> np.ndarray:
        """(B, H) -> (B, H)."""
        self.positive = z > 0
        return z * self.positive

    def backward(self, grad_h: np.ndarray) -> np.ndarray:
        """dh/dz = 1 where z > 0, else 0."""
        return grad_h * self.positive


class Sigmoid:
    """h = 1 / (1 + exp(-z))."""

    def forward(self, z: np.ndarray) -> np.ndarray:
        """(B, H) -> (B, H)."""
        self.h = expit(z)
        return self.h

    def backward(self, grad_h: np.ndarray) -> np.ndarray:
        """dh/dz = h (1 - h)."""
        return grad_h * self.h * (1 - self.h)


class Tanh:
    """h = tanh(z)."""

    def forward(self, z: np.ndarray) -> np.ndarray:
        """(B, H) -> (B, H)."""
        self.h = np.tanh(z)
        return self.h

    def backward(self, grad_h: np.ndarray) -> np.ndarray:
        """dh/dz = 1 - h²."""
        return grad_h * (1 - self.h**2)


class GELU:
    """h = z Φ(z), with Φ the standard normal distribution function (Hendrycks and Gimpel, 2016)."""

    def forward(self, z: np.ndarray) -> np.ndarray:
        """(B, H) -> (B, H)."""
        self.z = z
        self.cdf = (1 + erf(z / 2**0.5)) / 2
        return z * self.cdf

    def backward(self, grad_h: np.ndarray) -> np.ndarray:
        """dh/dz = Φ(z) + z φ(z), with φ the standard normal density."""
        density = np.exp(-(self.z**2) / 2) / (2 * np.pi) ** 0.5
        return grad_h * (self.cdf + self.z * density)


ACTIVATIONS = {"ReLU": ReLU, "Sigmoid": Sigmoid, "Tanh": Tanh, "GELU": GELU}


class SoftmaxCrossEntropy:
    """L = -mean_n log p[n, t_n] with p = softmax(logits)."""

    def forward(self, logits: np.ndarray, targets: np.ndarray) -> float:
        """Logits (B, C) and targets (B,) -> mean loss."""
        shifted = logits - logits.max(axis=1, keepdims=True)  # exp cannot overflow
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.p = np.exp(log_p)
        self.targets = targets
        return -log_p[np.arange(len(targets)), targets].mean()

    def backward(self) -> np.ndarray:
        """dL/dlogits = (p - onehot(t)) / B, (B, C)."""
        grad_logits = self.p.copy()
        grad_logits[np.arange(len(self.targets)), self.targets] -= 1
        return grad_logits / len(self.targets)


class NumpyMLP:
    """h_{l+1} = f(W_l h_l + b_l), logits = W_L h_L + b_L.

    Args:
        parameters: weight (out, in) and bias (out,) of each layer in turn; updated in place by whoever owns them.
        activation: the class of f.

    Shapes: (B, D) -> (B, C).
    """

    def __init__(self, parameters: list[np.ndarray], activation: type):
        self.linears = [Linear(weight, bias) for weight, bias in zip(parameters[::2], parameters[1::2], strict=True)]
        self.activations = [activation() for _ in self.linears[1:]]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(B, D) -> logits (B, C)."""
        h = x
        for linear, activation in zip(self.linears, self.activations, strict=False):
            h = activation.forward(linear.forward(h))
        return self.linears[-1].forward(h)

    def backward(self, grad_logits: np.ndarray) -> list[np.ndarray]:
        """dL/dlogits (B, C) -> the gradients, in the order of the parameters."""
        grad_h = self.linears[-1].backward(grad_logits)
        for linear, activation in zip(self.linears[-2::-1], self.activations[::-1], strict=True):
            grad_h = linear.backward(activation.backward(grad_h))
        return [gradient for linear in self.linears for gradient in (linear.grad_weight, linear.grad_bias)]


class NumpySGD(torch.optim.Optimizer):
    """v <- momentum v + (g + weight_decay w), w <- w - lr v, in NumPy.

    It is a torch optimiser by type alone, so that checkpoints and schedules treat it as any other.

    Args:
        params: torch parameters on the CPU, whose memory NumPy updates in place.
        lr: learning rate, > 0.
        momentum: in [0, 1).
        weight_decay: L2 penalty, >= 0.
    """

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.0, weight_decay: float = 0.0):
        if lr <= 0:
            raise ValueError(f"lr must be > 0, got {lr}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be >= 0, got {weight_decay}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: object = None) -> object:
        """Update every parameter from its gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, group["lr"], group["momentum"], group["weight_decay"])
        return loss

    def _update(self, parameter: Tensor, lr: float, momentum: float, weight_decay: float) -> None:
        w, v = parameter.numpy(), parameter.grad.numpy()
        if weight_decay:
            v = v + weight_decay * w
        if momentum:
            state = self.state[parameter]
            if "velocity" not in state:
                state["velocity"] = torch.zeros_like(parameter)
            velocity = state["velocity"].numpy()
            velocity *= momentum
            velocity += v
            v = velocity
        w -= lr * v


class LitNumpyMLP(LitMLP):
    """The NumPy MLP driven by the Trainer, with manual optimisation; arguments as in :class:`LitMLP`.

    ``self.net`` is the torch twin: it draws the starting weights and holds them, and no gradient of torch's ever
    reaches it. NumPy computes on the same memory. So both versions start alike, and a checkpoint of one loads in
    the other.
    """

    def __init__(
        self,
        sample_shape: list[int],
        num_classes: int,
        mean: list[float],
        std: list[float],
        hidden: list[int],
        activation: Activation = "ReLU",
        init: Initialization = "default",
        optimizer: OptimizerCallable = lambda params: NumpySGD(params, lr=0.01),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
    ):
        super().__init__(
            sample_shape,
            num_classes,
            mean,
            std,
            hidden,
            activation,
            init=init,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            lr_interval=lr_interval,
        )
        self.automatic_optimization = False
        self.activation = activation

    def numpy_net(self) -> NumpyMLP:
        """The NumPy network on the memory of the torch twin's weights."""
        return NumpyMLP([p.detach().numpy() for p in self.net.parameters()], ACTIVATIONS[self.activation])

    def inputs(self, samples: Tensor) -> np.ndarray:
        """(B, *sample_shape) -> normalised and flat (B, D)."""
        normalize, flatten = self.net[0], self.net[1]
        return flatten(normalize(samples)).numpy()

    def forward(self, x: Tensor) -> Tensor:
        """(B, *sample_shape) -> logits (B, num_classes), computed by NumPy."""
        return torch.from_numpy(self.numpy_net().forward(self.inputs(x)))

    def on_fit_start(self) -> None:
        """NumPy computes on the CPU only.

        Raises:
            MisconfigurationException: on any other device.
        """
        if self.device.type != "cpu":
            raise MisconfigurationException(
                f"LitNumpyMLP runs on the CPU, got {self.device}: add --trainer.accelerator cpu"
            )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Forward, backward and update by hand."""
        samples, targets = batch
        net, criterion = self.numpy_net(), SoftmaxCrossEntropy()
        logits = net.forward(self.inputs(samples))
        loss = criterion.forward(logits, targets.numpy())
        gradients = net.backward(criterion.backward())
        for parameter, gradient in zip(self.net.parameters(), gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient)
        self.optimizers().step()
        self._step_schedule("step")
        self.train_metrics.update(torch.tensor(loss), torch.from_numpy(logits), targets)

    def on_train_epoch_end(self) -> None:
        """Step the schedule of an ``epoch`` interval; manual optimisation leaves that to the module."""
        self._step_schedule("epoch")

    def _step_schedule(self, interval: str) -> None:
        if self.make_lr_scheduler is not None and interval == self.lr_interval:
            self.lr_schedulers().step()

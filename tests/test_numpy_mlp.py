"""The MLP by hand against PyTorch, finite differences and torch's SGD."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from datamodules import MoonsDataModule
from lit_models import MLP, LitMLP, LitNumpyMLP, NumpyMLP, NumpySGD
from lit_models.numpy_mlp import ACTIVATIONS, SoftmaxCrossEntropy

PLANE = {"sample_shape": [2], "num_classes": 3, "mean": [0.5, -0.5], "std": [2.0, 3.0]}


class StepRecord(L.Callback):
    """Every step's loss and gradients."""

    def __init__(self):
        self.losses, self.gradients = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([p.grad.clone() for p in pl_module.net.parameters()])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        metrics = pl_module.train_metrics
        self.losses.append(metrics.loss_sum.item() if metrics.count else None)


def train_200_steps(trainer, model_class, optimizer_class, activation):
    torch.manual_seed(0)
    model = model_class(
        [2], 2, [0.1, 0.2], [1.5, 0.5], hidden=[16, 8], activation=activation,
        optimizer=partial(optimizer_class, lr=0.1, momentum=0.9, weight_decay=1e-3),
    )  # fmt: skip
    record = StepRecord()
    losses = []
    original = model.train_metrics.update

    def update(loss, logits, targets):
        losses.append(loss.item())
        original(loss, logits, targets)

    model.train_metrics.update = update
    data = MoonsDataModule(num_samples=500, split=[0.8, 0.1, 0.1], batch_size=20)
    trainer(max_epochs=10, precision="64-true", callbacks=[record]).fit(model, data)
    return losses, record.gradients, model


@pytest.mark.parametrize("activation", ["ReLU", "Sigmoid", "Tanh", "GELU"])
def test_200_losses_and_gradients_equal_those_of_pytorch(trainer, activation):
    losses, gradients, numpy_model = train_200_steps(trainer, LitNumpyMLP, NumpySGD, activation)
    torch_losses, torch_gradients, torch_model = train_200_steps(trainer, LitMLP, torch.optim.SGD, activation)
    assert len(losses) == len(torch_losses) == 200
    assert losses[0] != losses[-1]
    np.testing.assert_allclose(losses, torch_losses, rtol=0, atol=1e-10)
    for ours, theirs in zip(gradients, torch_gradients, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    for a, b in zip(numpy_model.parameters(), torch_model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients_equal_finite_differences(activation):
    rng = np.random.default_rng(0)
    shapes = [(5, 4), (5,), (3, 5), (3,)]
    parameters = [rng.normal(size=shape) for shape in shapes]
    x, targets = rng.normal(size=(7, 4)), rng.integers(3, size=7)
    criterion = SoftmaxCrossEntropy()

    def loss() -> float:
        return criterion.forward(NumpyMLP(parameters, ACTIVATIONS[activation]).forward(x), targets)

    net = NumpyMLP(parameters, ACTIVATIONS[activation])
    criterion.forward(net.forward(x), targets)
    gradients = net.backward(criterion.backward())
    h = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in np.ndindex(parameter.shape):
            kept = parameter[index]
            parameter[index] = kept + h
            above = loss()
            parameter[index] = kept - h
            below = loss()
            parameter[index] = kept
            assert gradient[index] == pytest.approx((above - below) / (2 * h), abs=1e-8)


def test_softmax_cross_entropy_does_not_overflow():
    loss = SoftmaxCrossEntropy().forward(np.array([[1000.0, 0.0]]), np.array([1]))
    assert loss == F.cross_entropy(torch.tensor([[1000.0, 0.0]]), torch.tensor([1])).item() == 1000


def test_sgd_with_momentum_and_weight_decay_steps_like_torch():
    ours, theirs = (nn.Linear(3, 2).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimizers = [(ours, NumpySGD(ours.parameters(), **options)),
                  (theirs, torch.optim.SGD(theirs.parameters(), **options))]  # fmt: skip
    x = torch.randn(4, 3, dtype=torch.float64)
    for _ in range(5):
        for net, optimizer in optimizers:
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-14)


def test_its_weights_load_in_the_torch_version_and_give_the_same_logits():
    ours = LitNumpyMLP(**PLANE, hidden=[6])
    theirs = LitMLP(**PLANE, hidden=[6])
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 2)
    torch.testing.assert_close(ours(x), theirs(x))
    assert isinstance(ours.net, MLP)


def test_schedule_steps_once_an_epoch(trainer):
    schedule = partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    model = LitNumpyMLP([2], 2, [0.0] * 2, [1.0] * 2, [4], optimizer=partial(NumpySGD, lr=0.8), lr_scheduler=schedule)
    run = trainer(max_epochs=3)
    run.fit(model, MoonsDataModule(num_samples=100))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.8 * 0.5**3)

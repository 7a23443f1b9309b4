"""Training accuracy in evaluation mode: against the network itself, and that it only looks."""

import copy
import csv

import pytest
import torch
from torch.nn import functional as F

from callbacks import RunRecord, TrainEvaluation
from datamodules import DigitsDataModule, MoonsDataModule
from lit_models import LitMLP


def mlp(data, **arguments) -> LitMLP:
    torch.manual_seed(0)
    sizes = (data.sample_shape, data.num_classes, data.mean, data.std)
    return LitMLP(*sizes, hidden=[16], dropout=0.5, batch_norm=True, **arguments)


@pytest.mark.parametrize(("make", "precision"), [(DigitsDataModule, "32-true"), (MoonsDataModule, "64-true")])
def test_it_is_the_trained_network_in_evaluation_mode_on_the_training_set(trainer, make, precision):
    data = make()
    model = mlp(data)
    loop = trainer(max_epochs=1, callbacks=[TrainEvaluation()], precision=precision)
    loop.fit(model, data)
    samples, targets = data.train_set.samples, data.train_set.targets
    with torch.no_grad():
        logits = model.eval()(samples.to(model.dtype) if samples.is_floating_point() else samples)
    metrics = loop.callback_metrics
    assert metrics["train/eval_acc"].item() == pytest.approx((logits.argmax(1) == targets).float().mean().item())
    assert metrics["train/eval_loss"].item() == pytest.approx(F.cross_entropy(logits, targets).item(), rel=1e-5)
    assert metrics["train/eval_loss"] < metrics["train/loss"]  # which dropout and the first steps' weights raise


def test_a_part_is_spread_over_the_set(trainer):
    data = DigitsDataModule()
    model = mlp(data)
    loop = trainer(max_epochs=1, callbacks=[TrainEvaluation(num_samples=100)])
    loop.fit(model, data)
    stride = -(-len(data.train_set) // 100)
    with torch.no_grad():
        hits = model.eval()(data.train_set.samples[::stride]).argmax(1) == data.train_set.targets[::stride]
    assert len(hits) <= 100
    assert loop.callback_metrics["train/eval_acc"].item() == pytest.approx(hits.float().mean().item())


def test_training_is_the_same_with_and_without(trainer):
    weights = []
    for callbacks in ([], [TrainEvaluation()]):
        data = DigitsDataModule(batch_size=64)
        model = mlp(data)
        trainer(callbacks=callbacks).fit(model, data)
        weights.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_history_has_a_value_an_epoch(trainer, tmp_path):
    data = DigitsDataModule()
    record = RunRecord("val/acc", "max")
    trainer(max_epochs=3, callbacks=[TrainEvaluation(), record]).fit(mlp(data), data)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["train/eval_loss"] for row in rows}) == 3


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_samples must be >= 1, got 0"):
        TrainEvaluation(num_samples=0)

"""Gradient flow: its numbers against backpropagation by hand, that it only looks, and that it survives a resume."""

import copy
import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import GradientFlow
from callbacks.gradient_flow import draw_flow, layer_weights
from datamodules import DigitsDataModule, PalindromeDataModule
from lit_models import LitMLP, LitRNN


def sigmoid_mlp(data, **arguments) -> LitMLP:
    torch.manual_seed(0)
    sizes = (data.sample_shape, data.num_classes, data.mean, data.std)
    return LitMLP(*sizes, hidden=[16, 12], activation="Sigmoid", **arguments)


def rows_of(root: Path) -> list[dict[str, str]]:
    with (root / "gradients.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def gradients_by_hand(model: LitMLP, samples, targets) -> list[np.ndarray]:
    """dL/dW of each linear layer of a sigmoid MLP under mean cross-entropy, by the textbook's recursion."""
    with torch.no_grad():
        h = [model.net[1](model.net[0](samples)).double().numpy()]
    layers = model.net.linear_layers()
    weights = [layer.weight.detach().double().numpy() for layer in layers]
    biases = [layer.bias.detach().double().numpy() for layer in layers]
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h.append(1 / (1 + np.exp(-(h[-1] @ w.T + b))))
    z = h[-1] @ weights[-1].T + biases[-1]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    delta = (p / p.sum(axis=1, keepdims=True) - np.eye(z.shape[1])[targets.numpy()]) / len(z)
    found = []
    for k in reversed(range(len(weights))):
        found.insert(0, delta.T @ h[k])
        delta = (delta @ weights[k]) * h[k] * (1 - h[k])
    return found


def test_the_first_row_is_the_first_steps_gradient_before_clipping(trainer, tmp_path):
    data = DigitsDataModule(batch_size=32)
    model = sigmoid_mlp(data)
    start = copy.deepcopy(model)
    trainer(max_epochs=1, callbacks=[GradientFlow()], gradient_clip_val=1e-4).fit(model, data)
    data.train_dataloader().sampler.set_epoch(0)
    samples, targets = next(iter(data.train_dataloader()))
    expected = [np.abs(g).mean() for g in gradients_by_hand(start, samples, targets)]
    first = rows_of(tmp_path)[0]
    assert list(first) == ["epoch", "step", *layer_weights(model.net)]
    assert (first["epoch"], first["step"]) == ("0", "1")
    np.testing.assert_allclose([float(v) for v in list(first.values())[2:]], expected, rtol=1e-4)


def test_rows_are_every_nth_step_and_powers_of_two_before(trainer, tmp_path):
    data = DigitsDataModule(batch_size=128)
    trainer(max_epochs=2, callbacks=[GradientFlow(every_n_steps=5)]).fit(sigmoid_mlp(data), data)
    per_epoch = len(data.train_dataloader())
    steps = [int(row["step"]) for row in rows_of(tmp_path)]
    assert steps == [1, 2, 4, *range(5, 2 * per_epoch + 1, 5)]
    assert [int(row["epoch"]) for row in rows_of(tmp_path)] == [(step - 1) // per_epoch for step in steps]


def test_training_is_the_same_with_and_without(trainer):
    weights = []
    for callbacks in ([], [GradientFlow(every_n_steps=1)]):
        data = DigitsDataModule(batch_size=64)
        model = sigmoid_mlp(data, dropout=0.2, batch_norm=True)
        trainer(callbacks=callbacks, gradient_clip_val=0.5).fit(model, data)
        weights.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_resumed_run_has_the_rows_of_an_undisturbed_one(trainer, tmp_path):
    def run(name: str, epochs: int, ckpt_path: str | None = None) -> str:
        data, root = DigitsDataModule(batch_size=64), tmp_path / name
        root.mkdir(exist_ok=True)
        flow = GradientFlow(every_n_steps=7)
        loop = trainer(max_epochs=epochs, callbacks=[flow], enable_checkpointing=True, default_root_dir=str(root))
        loop.fit(sigmoid_mlp(data), data, ckpt_path=ckpt_path, weights_only=True)
        return loop.checkpoint_callback.best_model_path

    run("whole", 4)
    checkpoint = run("cut", 2)
    with (tmp_path / "cut" / "gradients.csv").open("a") as file:
        file.write("2,999,1,1,1\n3,12")  # of an epoch that no checkpoint has seen, the last line torn by a kill
    run("cut", 4, checkpoint)
    assert (tmp_path / "cut" / "gradients.csv").read_text() == (tmp_path / "whole" / "gradients.csv").read_text()


def test_a_fresh_run_forgets_the_rows_of_an_earlier_one(trainer, tmp_path):
    data = DigitsDataModule(batch_size=128)
    for _ in range(2):
        trainer(max_epochs=1, callbacks=[GradientFlow()]).fit(sigmoid_mlp(data), data)
    assert [row["step"] for row in rows_of(tmp_path)] == ["1", "2", "4", "8"]


def test_figure_and_tensorboard_show_what_the_file_says(trainer, tmp_path):
    data = DigitsDataModule(batch_size=128)
    logger = TensorBoardLogger(tmp_path, name="", version="")
    trainer(callbacks=[GradientFlow(every_n_steps=3)], logger=logger).fit(sigmoid_mlp(data), data)
    events = EventAccumulator(str(tmp_path)).Reload()
    rows = rows_of(tmp_path)
    for name in list(rows[0])[2:]:
        scalars = events.Scalars(f"gradients/{name}")
        assert [scalar.step for scalar in scalars] == [int(row["step"]) for row in rows]
        np.testing.assert_allclose([s.value for s in scalars], [float(row[name]) for row in rows], rtol=1e-5)
    assert (tmp_path / "figures" / "gradient_flow.png").stat().st_size > 10_000


def test_the_depth_panel_shows_the_first_step_the_middle_and_the_end():
    rows = [{"epoch": e, "step": 10 * e + s, "a": 10.0 ** -(e + s), "b": 1.0} for e in range(5) for s in (1, 3)]
    depth, training = draw_flow(rows, ["a", "b"]).axes
    assert [line.get_label() for line in depth.lines] == ["first step", "mean of epoch 3", "mean of epoch 5"]
    np.testing.assert_allclose([line.get_ydata()[0] for line in depth.lines], [1e-1, 1e-4, 1e-6])  # geometric means
    assert len(training.lines) == 2


def test_a_recurrent_networks_matrices_are_its_layers(trainer, tmp_path):
    data = PalindromeDataModule(num_sequences=500)
    model = LitRNN(data.sample_shape, data.num_classes, data.mean, data.std, hidden=8)
    trainer(max_epochs=1, callbacks=[GradientFlow()]).fit(model, data)
    assert list(rows_of(tmp_path)[0])[2:] == ["rnn.w_hx", "rnn.w_hh", "rnn.w_ph"]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="every_n_steps must be >= 1, got 0"):
        GradientFlow(every_n_steps=0)

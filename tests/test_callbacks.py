"""Callbacks observe and change nothing; what they report is right."""

from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn

from callbacks import DecisionBoundary, LayerTable, RunRecord
from callbacks.decision_boundary import grid_over
from callbacks.layer_table import as_markdown, shape_chain, trace_layers
from callbacks.run_record import read_history, shortest, write_json
from datamodules import DigitsDataModule, MoonsDataModule
from lit_models import MLP, LitMLP


def train(trainer, tmp_path, callbacks: list[L.Callback]) -> dict[str, torch.Tensor]:
    L.seed_everything(0, verbose=False)
    data = MoonsDataModule(num_samples=200)
    optimizer = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    model = LitMLP([2], 2, data.mean, data.std, hidden=[16], dropout=0.3, batch_norm=True, optimizer=optimizer)
    run = trainer(max_epochs=3, callbacks=callbacks, default_root_dir=str(tmp_path))
    run.fit(model, data)
    run.test(model, data, verbose=False)
    return model.state_dict()


@pytest.mark.parametrize("make", [LayerTable, DecisionBoundary, lambda: RunRecord("val/acc", "max")])
def test_training_is_the_same_with_and_without(trainer, tmp_path, make):
    without, with_callback = train(trainer, tmp_path, []), train(trainer, tmp_path, [make()])
    assert all(torch.equal(without[name], with_callback[name]) for name in without)


def test_layer_table_counts_and_shapes_are_those_of_the_network():
    data = DigitsDataModule()
    data.setup()
    net = MLP([1, 8, 8], 10, data.mean, data.std, hidden=[128, 64], batch_norm=True)
    layers = trace_layers(net, data.train_set.samples[:7])
    assert sum(layer.num_parameters for layer in layers) == sum(p.numel() for p in net.parameters())
    linears = [(layer.input_shape, layer.output_shape) for layer in layers if layer.kind == "Linear"]
    assert linears == [((7, 64), (7, 128)), ((7, 128), (7, 64)), ((7, 64), (7, 10))]
    assert shape_chain(layers) == "(7, 1, 8, 8) -> (7, 64) -> (7, 128) -> (7, 64) -> (7, 10)"
    assert as_markdown(layers, 99).count("\n| ") == len(layers) + 1


def test_tracing_leaves_modes_and_running_statistics_alone():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    net[1].eval()
    trace_layers(net, torch.randn(8, 3))
    assert net.training
    assert net[0].training
    assert not net[1].training
    assert net[0].num_batches_tracked == 0
    assert not net[0]._forward_hooks


def test_decision_boundary_needs_points_in_the_plane(trainer, tmp_path, capsys):
    data = DigitsDataModule()
    model = LitMLP([1, 8, 8], 10, data.mean, data.std, hidden=[8])
    run = trainer(callbacks=[DecisionBoundary()], default_root_dir=str(tmp_path))
    run.test(model, data, verbose=False)
    assert "not samples of shape [1, 8, 8]" in capsys.readouterr().out
    assert not (tmp_path / "figures").exists()


def test_grid_covers_the_points_and_a_tenth_beyond():
    x, y = grid_over(torch.tensor([[0.0, -1.0], [10.0, 3.0]]))
    assert (x.min(), x.max()) == (-1, 11)
    assert (y.min().item(), y.max().item()) == pytest.approx((-1.4, 3.4))
    assert (x[0] == x[1]).all()


def test_best_row_is_the_first_of_equals_and_never_a_nan():
    record = RunRecord("val/acc", "max")
    record.rows = [{"epoch": str(i), "val/acc": value} for i, value in enumerate(["nan", "0.5", "0.9", "0.9"])]
    assert record.best_row["epoch"] == "2"
    record = RunRecord("val/loss", "min")
    record.rows = [{"epoch": str(i), "val/loss": value} for i, value in enumerate(["nan", "0.5", "0.1", ""])]
    assert record.best_row["epoch"] == "2"


def test_a_torn_last_line_is_no_row(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,step,val/acc\n0,10,0.5\n1,20")
    assert read_history(path) == [{"epoch": "0", "step": "10", "val/acc": "0.5"}]
    assert read_history(tmp_path / "none.csv") == []


def test_float32_is_written_as_its_shortest_decimal():
    assert shortest(torch.tensor(0.9604)) == 0.9604
    assert shortest(torch.tensor(0.1, dtype=torch.float64)) == 0.1
    value = torch.tensor(1 / 3)
    assert torch.tensor(shortest(value)) == value


def test_a_result_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "result.json", {"a": object()})
    assert not (tmp_path / "result.json").exists()


def test_layers_md_is_written_by_rank_zero_only(tmp_path):
    trainer = SimpleNamespace(is_global_zero=False, fast_dev_run=False, default_root_dir=str(tmp_path))
    LayerTable().on_fit_start(trainer, None)
    assert not list(tmp_path.iterdir())

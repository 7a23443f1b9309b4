"""The memory view: its gradients against the formula of backpropagation through time, and that it only looks."""

import copy

import lightning as L
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from callbacks import MemoryView
from callbacks.memory import gradient_in_time, saturation, spread
from datamodules import PalindromeDataModule
from lit_models import LitMLP, LitRNN, VanillaRNN


def palindromes(**arguments) -> PalindromeDataModule:
    return PalindromeDataModule(**{"length": 8, "num_sequences": 500, **arguments})


def recurrent(data: PalindromeDataModule, **arguments) -> LitRNN:
    torch.manual_seed(0)
    return LitRNN(data.sample_shape, data.num_classes, data.mean, data.std, hidden=16, **arguments)


def test_gradients_are_those_of_backpropagation_through_time_by_hand():
    torch.manual_seed(0)
    net = VanillaRNN(3, 4, 5).double()
    x, y = torch.randn(6, 7, 3).double(), torch.randint(4, (6,))
    states = net.states(x)
    logits = net.readout(states[-1])
    measured = gradient_in_time(states, logits, y)

    w_ph, w_hh = net.w_ph.detach().numpy(), net.w_hh.detach().numpy()
    dh = (logits.softmax(dim=1) - F.one_hot(y, 4)).detach().numpy() @ w_ph  # (B, H)
    expected = []
    for h in reversed(states):
        expected.insert(0, np.linalg.norm(dh, axis=1).mean())
        dh = (dh * (1 - h.detach().numpy() ** 2)) @ w_hh
    np.testing.assert_allclose(measured.numpy(), expected, rtol=0, atol=1e-12)


def test_saturation_is_the_share_of_units_beyond_the_bound():
    states = [torch.zeros(2, 4), torch.tensor([[0.95, -0.95, 0.5, 0.89], [0.91, 0.0, 0.0, 0.0]])]
    assert saturation(states).tolist() == [0.0, 0.375]


def test_a_contracting_network_shows_the_vanishing_gradient(trainer):
    data = palindromes(length=30)
    model = recurrent(data, init="identity", recurrent_gain=0.5)
    view = MemoryView()
    trainer(max_epochs=1, limit_train_batches=1, callbacks=[view]).fit(model, data)
    assert view.gradients[0][0] < 1e-8 * view.gradients[0][-1]


@pytest.mark.parametrize("fresh", [False, True])
def test_training_is_the_same_with_and_without(trainer, fresh):
    weights = []
    for callbacks in ([], [MemoryView()]):
        data = palindromes(fresh=fresh)
        model = recurrent(data)
        trainer(max_epochs=3, callbacks=callbacks, gradient_clip_val=10.0).fit(model, data)
        weights.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_resumed_run_has_the_weights_and_the_lines_of_an_undisturbed_one(trainer, tmp_path):
    def run(name: str, epochs: int, ckpt_path: str | None = None) -> tuple[LitRNN, MemoryView, L.Trainer]:
        data, view = palindromes(fresh=True, start_length=4, length_growth=1.2), MemoryView()
        model = recurrent(data)
        root = tmp_path / name
        loop = trainer(max_epochs=epochs, callbacks=[view], enable_checkpointing=True, default_root_dir=str(root))
        root.mkdir()
        loop.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return model, view, loop

    whole, whole_view, _ = run("whole", 4)
    _, _, half = run("half", 2)
    resumed, resumed_view, _ = run("resumed", 4, half.checkpoint_callback.best_model_path)
    assert sorted(whole_view.gradients) == [0, 1, 2, 3, 4]
    assert resumed_view.gradients == whole_view.gradients
    assert resumed_view.saturations == whole_view.saturations
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert (tmp_path / "resumed" / "figures" / "memory.png").stat().st_size > 10_000


def test_another_network_is_left_alone(trainer, tmp_path):
    data = palindromes()
    torch.manual_seed(0)
    model = LitMLP(data.sample_shape, data.num_classes, data.mean, data.std, hidden=[8])
    trainer(max_epochs=1, callbacks=[MemoryView()]).fit(model, data)
    assert not (tmp_path / "figures").exists()


def test_the_lines_shown_hold_the_first_and_the_last_epoch():
    assert spread([0, 1, 2]) == [0, 1, 2]
    shown = spread(list(range(101)))
    assert len(shown) <= 7
    assert (shown[0], shown[-1]) == (0, 100)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="num_sequences must be >= 1, got 0"):
        MemoryView(num_sequences=0)

"""VanillaRNN against torch.nn.RNN, the concatenated form, and the way of its gradient."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lit_models import LitRNN, VanillaRNN

D, C, H, B, T = 10, 10, 16, 7, 12


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(B, T, D, dtype=torch.float64, generator=generator),
        torch.randint(C, (B,), generator=generator),
    )


@pytest.fixture
def net() -> VanillaRNN:
    torch.manual_seed(0)
    return VanillaRNN(D, C, H).double()


def library_twin(net: VanillaRNN) -> tuple[nn.RNN, nn.Linear]:
    """``torch.nn.RNN`` and a readout with the same weights; nn.RNN's second bias is zero."""
    rnn, readout = nn.RNN(D, H, batch_first=True).double(), nn.Linear(H, C).double()
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(net.w_hx)
        rnn.weight_hh_l0.copy_(net.w_hh)
        rnn.bias_ih_l0.copy_(net.b_h)
        rnn.bias_hh_l0.zero_()
        readout.weight.copy_(net.w_ph)
        readout.bias.copy_(net.b_o)
    return rnn, readout


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_outputs_and_every_gradient_are_those_of_torch_nn_rnn(net, batch):
    x, y = batch
    rnn, readout = library_twin(net)
    their_states, last = rnn(x)
    their_logits = readout(last[0])
    F.cross_entropy(their_logits, y).backward()
    logits = net(x)
    F.cross_entropy(logits, y).backward()
    close(logits, their_logits)
    close(torch.stack(net.states(x), dim=1), their_states)
    close(net.w_hx.grad, rnn.weight_ih_l0.grad)
    close(net.w_hh.grad, rnn.weight_hh_l0.grad)
    close(net.b_h.grad, rnn.bias_ih_l0.grad)
    close(net.w_ph.grad, readout.weight.grad)
    close(net.b_o.grad, readout.bias.grad)


def test_gradients_agree_with_finite_differences(batch):
    torch.manual_seed(0)
    small = VanillaRNN(2, 3, 4).double()
    x = batch[0][:2, :5, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(small, x)


def test_the_concatenated_form_is_the_same_function(net, batch):
    x, y = batch
    joint = nn.Linear(D + H, H).double()
    with torch.no_grad():
        joint.weight.copy_(torch.cat([net.w_hx, net.w_hh], dim=1))
        joint.bias.copy_(net.b_h)
    h = torch.zeros(B, H, dtype=torch.float64)
    for t in range(T):
        h = torch.tanh(joint(torch.cat([x[:, t], h], dim=1)))
    logits = F.linear(h, net.w_ph, net.b_o)
    F.cross_entropy(logits, y).backward()
    joint_gradient = joint.weight.grad
    net.zero_grad()
    ours = net(x)
    F.cross_entropy(ours, y).backward()
    close(ours, logits)
    close(torch.cat([net.w_hx.grad, net.w_hh.grad], dim=1), joint_gradient)


def test_gradients_reach_the_recurrent_weights_and_the_first_step(net, batch):
    x, y = batch
    x.requires_grad_()
    F.cross_entropy(net(x), y).backward()
    assert net.w_hh.grad.norm() > 1e-4
    assert (x.grad.norm(dim=2) > 0).all()


def test_the_first_state_changes_the_loss_as_its_gradient_says(net, batch):
    """Fails if the state is detached anywhere between the first step and the readout."""
    x, y = batch
    x.requires_grad_()
    F.cross_entropy(net(x), y).backward()
    step = torch.zeros_like(x)
    step[:, 0] = 1e-5 * x.grad[:, 0] / x.grad[:, 0].norm()
    with torch.no_grad():
        change = F.cross_entropy(net(x + step), y) - F.cross_entropy(net(x - step), y)
    assert change.item() == pytest.approx(2e-5 * x.grad[:, 0].norm().item(), rel=1e-4)


def test_a_sequence_of_one_step_needs_no_recurrence(net, batch):
    x = batch[0][:, :1]
    close(net(x), F.linear(torch.tanh(F.linear(x[:, 0], net.w_hx, net.b_h)), net.w_ph, net.b_o))


def lit(**arguments) -> LitRNN:
    torch.manual_seed(0)
    return LitRNN([T], C, [0.0], [1.0], hidden=H, **arguments)


def test_digits_are_read_as_unit_vectors_or_as_numbers(batch):
    digits = torch.randint(C, (B, T))
    one_hot, scalar = lit(), lit(encoding="scalar")
    close(one_hot(digits), one_hot.net.rnn(torch.eye(C)[digits]))
    close(scalar(digits), scalar.net.rnn(digits.float().unsqueeze(-1)))


def test_initial_weights_are_what_they_are_called():
    size = 256
    bound = 1 / math.sqrt(size)
    default, normal, orthogonal, identity, latch = (
        VanillaRNN(D, C, size, init) for init in ("default", "normal", "orthogonal", "identity", "latch")
    )
    eye = torch.eye(size)
    assert default.w_hh.abs().max() <= bound
    assert default.b_h.abs().sum() > 0
    assert normal.w_hh.std().item() == pytest.approx(bound, rel=0.02)
    assert normal.w_hh.abs().max() > 3 * bound
    torch.testing.assert_close(orthogonal.w_hh @ orthogonal.w_hh.T, eye, rtol=0, atol=1e-5)
    assert torch.equal(identity.w_hh, eye)
    assert torch.equal(latch.w_hh, 3 * eye)
    assert 0.49 < latch.w_hx.abs().max() <= 0.5
    for net in (normal, orthogonal, identity, latch):
        assert net.b_h.abs().sum() == net.b_o.abs().sum() == 0


def test_gain_and_input_scale_set_the_start():
    net = VanillaRNN(D, C, 64, "identity", recurrent_gain=1.5, input_scale=0.01)
    assert torch.equal(net.w_hh, 1.5 * torch.eye(64))
    assert 0.009 < net.w_hx.abs().max() <= 0.01


def test_the_designed_latch_keeps_the_first_digit_for_500_steps():
    """Untrained: the signs of the last state are those of the state after a few steps."""
    torch.manual_seed(0)
    net = VanillaRNN(D, C, 128, "latch")
    states = net.states(F.one_hot(torch.randint(D, (64, 500)), D).float())
    assert (states[-1].sign() == states[9].sign()).float().mean() > 0.999


def remembered(net: VanillaRNN, length: int) -> float:
    """Share of first digits that a linear readout finds in the last state: ridge regression, held-out sequences."""
    generator = torch.Generator().manual_seed(1)
    digits = torch.randint(D, (3000, length), generator=generator)
    one_hot = torch.eye(D)[digits]
    with torch.no_grad():
        h = net.states(one_hot)[-1].double()
    features = torch.cat([h, torch.ones(len(h), 1)], dim=1)
    fit, held_out = features[:2000], features[2000:]
    gram = fit.T @ fit + 1e-6 * torch.eye(fit.shape[1])
    weights = torch.linalg.solve(gram, fit.T @ one_hot[:2000, 0].double())
    return ((held_out @ weights).argmax(dim=1) == digits[2000:, 0]).double().mean().item()


def test_the_start_of_the_learned_memory_remembers_nothing_and_the_designed_latch_everything():
    torch.manual_seed(0)
    assert remembered(VanillaRNN(D, C, 128, "orthogonal", input_scale=0.1), 100) < 0.25
    assert remembered(VanillaRNN(D, C, 128, "latch"), 100) == 1


def test_the_task_sheets_defaults_solve_five_digits(firstlight, configs):
    options = ["--trainer.max_epochs", "5", "--trainer.accelerator", "cpu", "--trainer.logger", "false"]
    cli = firstlight(["fit", "-c", str(configs / "palindrome/defaults.yaml"), *options])
    assert cli.result["metrics"]["test/acc"] == 1


@pytest.mark.slow
def test_a_plain_rnn_learns_to_remember_200_digits(firstlight, configs):
    options = ["--data.length", "200", "--trainer.accelerator", "cpu", "--trainer.logger", "false"]
    cli = firstlight(["fit", "-c", str(configs / "palindrome/long_learned.yaml"), *options])
    assert cli.result["metrics"]["test/acc"] > 0.99


def test_the_command_refuses_what_cannot_be(refused, configs, tmp_path):
    config = ["fit", "-c", str(configs / "palindrome/defaults.yaml"), "--trainer.accelerator", "cpu"]
    assert "length must be >= 3, got 1" in refused(*config, "--data.length", "1")
    assert "hidden must be >= 1, got 0" in refused(*config, "--model.hidden", "0")
    torch.save({"state_dict": lit(encoding="one_hot").state_dict()}, tmp_path / "one_hot.ckpt")
    assert "size mismatch for net.rnn.w_hx" in refused(*config, "--weights", str(tmp_path / "one_hot.ckpt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 0}, "hidden must be >= 1, got 0"),
        ({"recurrent_gain": 0.0}, "recurrent_gain must be > 0, got 0.0"),
        ({"input_scale": 0.0}, "input_scale must be > 0, got 0.0"),
        ({"sample_shape": [3, 32, 32]}, r"sequences of digits, sample_shape \[T\], got \[3, 32, 32\]"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        LitRNN(**{"sample_shape": [4], "num_classes": 10, "mean": [0.0], "std": [1.0], **arguments})


def test_a_checkpoint_for_another_input_size_is_refused():
    with pytest.raises(RuntimeError, match=r"size mismatch for net.rnn.w_hx"):
        lit().load_state_dict(lit(encoding="scalar").state_dict())

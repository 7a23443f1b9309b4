# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. The MLP, in NumPy and in PyTorch
#
# A multi-layer perceptron is two or three matrix products with a bend between them. This notebook takes one apart:
# what goes forward, what comes back, whether two programs that compute the same learn the same, and what the number of
# hidden units and the first weights decide.
#
# Each section asks a question. Write your prediction down before you run the cell; the answers fold open.
#
# Everything here calls the project as you would from the shell: `main(["fit", "-c", ...])` is `firstlight fit -c ...`,
# and what it returns holds the trained `model` and the `result`. The runs go to a temporary folder.

# %%
import os
import tempfile
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, Markdown, display
from torch.nn import functional as F

from callbacks.figures import PALETTE
from configs import CONFIGS
from datamodules import BlobsDataModule, CirclesDataModule, MoonsDataModule
from lit_models import LitNumpyMLP
from lit_models.numpy_mlp import SoftmaxCrossEntropy
from scripts.main import main

QUICK = ["--trainer.max_epochs", 2] if os.environ.get("FIRSTLIGHT_QUICK") else []  # a trial run of every cell
SEEDS = range(1 if QUICK else 4)
plain = ["--trainer.callbacks", "[]", "--trainer.logger", "false", *QUICK]  # for many runs: no pictures, no TensorBoard
os.chdir(tempfile.mkdtemp(prefix="firstlight-"))
plt.rcParams.update({"axes.prop_cycle": plt.cycler(color=PALETTE), "legend.frameon": False})
plt.rcParams.update({"figure.constrained_layout.use": True, "figure.dpi": 90})

# %% [markdown]
# ## Three sets of points
#
# **Question.** Which of these three can a straight line (or, for three classes, straight lines) separate?

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6))
for axes, data in zip(panels, (MoonsDataModule(), CirclesDataModule(), BlobsDataModule(noise=1.0)), strict=True):
    data.setup()
    for k, colour in zip(range(data.num_classes), PALETTE, strict=False):
        axes.scatter(*data.train_set.samples[data.train_set.targets == k].T, s=6, color=colour, label=f"class {k}")
        axes.scatter(*data.test_set.samples[data.test_set.targets == k].T, s=22, color=colour, marker="x")
    axes.set(title=type(data).__name__, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
figure.legend(*panels[2].get_legend_handles_labels(), loc="outside right center", title="dots: training\ncrosses: test")
plt.show()

# %% [markdown]
# A network without a hidden layer, `hidden: []`, is a linear classifier: its boundaries are straight. Beside it, one
# with 20 hidden units. (`%%capture` keeps the runs' printed tables out of the notebook.)

# %%
# %%capture
accuracy = {}
for task, hidden in product(("moons", "circles", "blobs"), ("[]", "[20]")):
    words = ["--model.hidden", hidden, "--model.optimizer.lr", 0.3, "--trainer.max_epochs", 25, *plain]
    cli = main(["fit", "-c", CONFIGS / task / "mlp.yaml", *words])
    accuracy[task, hidden] = cli.result["metrics"]["test/acc"]

# %%
for task in ("moons", "circles", "blobs"):
    print(
        f"{task:8} test accuracy: no hidden layer {accuracy[task, '[]']:6.1%}, 20 units {accuracy[task, '[20]']:6.1%}"
    )

# %% [markdown]
# <details><summary>Answer</summary>
#
# The blobs alone. A line through the moons gets the greater part right and cuts off their tips. On the circles the
# best that a line can do is to cut a piece off the outer ring, which makes about two points in three right; training
# does not even find that, because the cross-entropy of a linear classifier is least, by symmetry, at weights of zero.
# </details>

# %% [markdown]
# ## Structure, parameters and shapes
#
# **Question.** A batch of 32 points, two coordinates each, goes through 20 hidden units to two logits. How many
# numbers does this network learn, and what shape has the batch after each layer?
#
# Every run writes the answer for its network to `layers.md`. This is the network of the rest of the notebook, trained
# by the NumPy code; we will come back to what it learnt.

# %%
# %%capture
moons = ["--trainer.max_epochs", 60, "--model.optimizer.lr", 0.1, *QUICK]
with_numpy = main(["fit", "-c", CONFIGS / "moons/numpy_mlp.yaml", *moons])

# %%
display(Markdown(Path(with_numpy.run_dir, "layers.md").read_text()))

# %% [markdown]
# <details><summary>Answer</summary>
#
# The first layer has a 20 × 2 matrix and 20 biases, 60 numbers; the second a 2 × 20 matrix and 2 biases, 42; together
# 102. `Normalize`, `Flatten` and `ReLU` learn nothing. Only the last axis changes, (32, 2) → (32, 20) → (32, 2): the
# 32 points never meet inside the network.
# </details>

# %% [markdown]
# ## Forward by hand
#
# $$z = x W_1^\top + b_1, \qquad h = \tanh z, \qquad \text{logits} = h W_2^\top + b_2,
# \qquad p = \text{softmax}(\text{logits})$$
#
# Four points and three hidden units are enough to see it. (tanh instead of ReLU, because it is smooth: we will need
# that.)

# %%
data = MoonsDataModule()
data.setup()
x = data.train_set.samples[:4].double().numpy()  # (4, 2)
t = data.train_set.targets[:4].numpy()  # (4,)

torch.manual_seed(0)
model = LitNumpyMLP(data.sample_shape, data.num_classes, data.mean, data.std, hidden=[3], activation="Tanh").double()
W1, b1, W2, b2 = [p.detach().numpy() for p in model.net.parameters()]

z = x @ W1.T + b1  # (4, 3)
h = np.tanh(z)  # (4, 3)
logits = h @ W2.T + b2  # (4, 2)
p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # (4, 2)
loss = -np.log(p[np.arange(4), t]).mean()

print("p =", p.round(3), "targets", t, sep="\n")
print(f"loss {loss:.6f}; a network that knows nothing has log 2 = {np.log(2):.6f}")

# %% [markdown]
# The project's NumPy network (`lit_models/numpy_mlp.py`) must say the same.

# %%
net, criterion = model.numpy_net(), SoftmaxCrossEntropy()
print(f"difference of the losses: {abs(criterion.forward(net.forward(x), t) - loss):.1e}")

# %% [markdown]
# ## Backward by hand
#
# **Question.** The loss depends on the logits through softmax and logarithm. Which simple expression is its derivative
# with respect to the logits?
#
# <details><summary>Answer</summary>
#
# $\partial L / \partial \text{logits} = (p - \text{onehot}(t)) / B$: what the network says minus what it should say,
# over the batch size. From there the chain rule walks back through each line of the forward pass, last line first.
# </details>

# %%
g = (p - np.eye(2)[t]) / 4  # dL/dlogits, (4, 2)
grad_W2 = g.T @ h  # (2, 3), the shape of W2
grad_b2 = g.sum(axis=0)
grad_h = g @ W2  # (4, 3)
grad_z = grad_h * (1 - h**2)  # tanh' = 1 - tanh²
grad_W1 = grad_z.T @ x  # (3, 2), the shape of W1
grad_b1 = grad_z.sum(axis=0)

by_hand = [grad_W1, grad_b1, grad_W2, grad_b2]
print("dL/dW1 =", grad_W1.round(4), sep="\n")

# %% [markdown]
# Two witnesses that share no code with these lines: the project's `backward`, and PyTorch's autograd on the same
# weights.

# %%
of_project = net.backward(criterion.backward())
F.cross_entropy(model.net(torch.from_numpy(x)), torch.from_numpy(t)).backward()
of_autograd = [parameter.grad.numpy() for parameter in model.net.parameters()]
for name, a, b, c in zip(("W1", "b1", "W2", "b2"), by_hand, of_project, of_autograd, strict=True):
    print(f"{name}: by hand - project {abs(a - b).max():.1e}, by hand - autograd {abs(a - c).max():.1e}")

# %% [markdown]
# ## The gradient check
#
# Three programs may share one error of thought. The definition of the derivative cannot: move one weight by ±ε and see
# how much the loss changes,
#
# $$\frac{\partial L}{\partial w} \approx \frac{L(w + \varepsilon) - L(w - \varepsilon)}{2 \varepsilon}.$$
#
# **Question.** The formula becomes exact as ε goes to 0. Is the smallest ε the best?

# %%
steps = 10.0 ** np.arange(0, -14, -1)
errors = []
for step in steps:
    W1[0, 0] += step  # the network computes on this very memory
    up = criterion.forward(net.forward(x), t)
    W1[0, 0] -= 2 * step
    down = criterion.forward(net.forward(x), t)
    W1[0, 0] += step
    errors.append(abs((up - down) / (2 * step) - grad_W1[0, 0]))

figure, axes = plt.subplots(figsize=(6, 3.6))
axes.loglog(steps, errors, marker="o")
axes.set(xlabel="step ε of the weight", ylabel="error of dL/dw", title="Finite difference against backward")
plt.show()
print(f"smallest error {min(errors):.0e} at ε = {steps[np.argmin(errors)]:.0e}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# No. On the right of the figure the formula's own error, about ε², falls a hundredfold with every tenth of ε. On the
# left rounding takes over: the two losses agree in more and more digits, their difference keeps fewer and fewer, and
# it is divided by a smaller and smaller 2ε. The best ε lies between, and there the two agree to about ten digits: the
# backward pass is right.
# </details>

# %% [markdown]
# ## Do NumPy and PyTorch learn the same?
#
# `moons/mlp.yaml` trains the same network with PyTorch: the same first weights, the same batches in the same order,
# SGD with the same learning rate, in double precision.
#
# **Question.** After 60 epochs of 22 steps, how far apart are the two programs' weights: 0, about 1e-15, about 1e-3,
# or as far as two different seeds?

# %%
# %%capture
with_torch = main(["fit", "-c", CONFIGS / "moons/mlp.yaml", *moons, *plain])
other_seed = main(["fit", "-c", CONFIGS / "moons/mlp.yaml", *moons, *plain, "--seed_everything", 7])
trained = {"NumPy": with_numpy, "PyTorch": with_torch, "PyTorch, seed 7": other_seed}

# %%
for name, cli in trained.items():
    metrics = cli.result["metrics"]
    print(f"{name:16} test accuracy {metrics['test/acc']:.2%}, test loss {metrics['test/loss']:.6f}")
pairs = list(zip(with_numpy.model.parameters(), with_torch.model.parameters(), strict=True))
print(f"largest difference of a weight, NumPy - PyTorch: {max((a - b).abs().max().item() for a, b in pairs):.0e}")

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.6))
for style, (name, cli) in zip(("-", "--", ":"), trained.items(), strict=True):
    losses = [float(row["train/loss"]) for row in cli.record.rows]
    axes.plot(range(1, len(losses) + 1), losses, style, lw=2.5, label=name)
axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
axes.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# They agree but for rounding. Both compute the same function, and floating-point sums taken in another order differ in
# the last digits only. So "my NumPy version reaches another accuracy than my PyTorch version" never means that one
# library learns better: the two were started or trained differently, or one has an error. Another seed, on the other
# hand, is another run: compare programs on the same seed, and methods over several.
# </details>

# %% [markdown]
# ## What it learnt
#
# Learning curves first: training and validation loss fall together, so nothing is learnt by heart. Then the plane,
# coloured by the class that the network predicts.

# %%
display(Image(with_numpy.run_dir / "figures/curves.png", width=720))

# %%
display(Image(with_numpy.run_dir / "figures/decision_boundary.png", width=480))

# %% [markdown]
# **Question.** Why is the boundary made of straight pieces?
#
# <details><summary>Answer</summary>
#
# A ReLU is linear on either side of the line on which its input is 0. Twenty units draw twenty lines across the plane,
# and within a cell between them the network is a linear function, so its boundary is straight there and bends only
# where it crosses one of the lines.
# </details>

# %% [markdown]
# ## Where learning starts
#
# **Question.** What happens if all weights start at zero? And if they all start at the same number that is not zero?
#
# `--weights` starts a run from a checkpoint, so a start of our own is a file away.

# %%
# %%capture
state = with_torch.model.state_dict()
for name, value in {"zero": 0.0, "equal": 0.3}.items():
    start = {key: torch.full_like(w, value) if "weight" in key or "bias" in key else w for key, w in state.items()}
    start["net.4.bias"] = torch.tensor([0.1, -0.1])  # the two logits must not be twins as well
    torch.save({"state_dict": start}, f"{name}.ckpt")

starts = {
    "all zero": ["--weights", "zero.ckpt"],
    "all equal": ["--weights", "equal.ckpt"],
    "PyTorch's default": ["--model.init", "default"],
    "Xavier": ["--model.init", "xavier_uniform"],
    "Kaiming": ["--model.init", "kaiming_normal"],
}
short = ["--trainer.max_epochs", 40, "--model.optimizer.lr", 0.1, *plain]
runs = {name: main(["fit", "-c", CONFIGS / "moons/mlp.yaml", *short, *start]) for name, start in starts.items()}

# %%
figure, axes = plt.subplots(figsize=(7, 3.8))
for name, cli in runs.items():
    losses = [float(row["train/loss"]) for row in cli.record.rows]
    axes.plot(range(1, len(losses) + 1), losses, label=name)
axes.set(xlabel="epoch", ylabel="training loss", title="Moons, 20 hidden units")
figure.legend(loc="outside right center")
plt.show()
for name, cli in runs.items():
    units = torch.unique(cli.model.net.linear_layers()[0].weight.detach().round(decimals=6), dim=0)
    print(f"{name:18} test accuracy {cli.result['metrics']['test/acc']:6.1%}, different hidden units: {len(units)}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# With zeros, every hidden unit is 0, so nothing reaches the output weights, and the output weights are 0, so nothing
# comes back to the hidden ones: only the output's biases can learn, and they do not see the input. With equal weights
# there is a gradient, but every unit gets the same one, so the 20 units stay copies of each other and the network can
# do no more than one unit could. Random weights are there to make the units different. Between the three random starts
# the difference here is one of speed; in deep networks it decides more (notebook 4).
# </details>

# %% [markdown]
# ## How many hidden units does XOR need?
#
# XOR: four points, the corners of a square; opposite corners belong to one class. No line separates them.
#
# **Question.** With tanh units and a sigmoid output, how many hidden units can solve it at all, and is that number
# enough in practice? 400 steps of Adam, four seeds each.

# %%
# %%capture
xor = ["fit", "-c", CONFIGS / "xor/mlp.yaml", "--trainer.max_epochs", 20, *plain]
sizes = (1, 2, 3, 8)
share_right = {
    (size, seed): main([*xor, "--model.hidden", f"[{size}]", "--seed_everything", seed]).result["metrics"]["test/acc"]
    for size, seed in product(sizes, SEEDS)
}

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4))
for column, size in enumerate(sizes):
    points = [4 * share_right[size, seed] for seed in SEEDS]
    axes.plot(column + 0.07 * (np.arange(len(points)) - 1.5), points, "o", color=PALETTE[0], alpha=0.8)
    axes.plot([column - 0.25, column + 0.25], [np.mean(points)] * 2, color=PALETTE[1], lw=2.5)
axes.set(xlabel="hidden units", ylabel="points right, of 4", title="XOR: a dot a seed, a bar the mean")
axes.set(xticks=range(len(sizes)), xticklabels=sizes, yticks=range(5), ylim=(-0.2, 4.3))
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# One unit cannot: tanh and sigmoid only rise, so the network's boundary is still one straight line, and that gets
# three points at most. Two units can, for instance one for OR and one for AND, but with two or three a run may be
# caught where no small change of the weights helps. Many units make that rare, because it is enough that some of them
# start in a useful place. What a network *can* represent and what training *finds* are two questions.
# </details>

# %% [markdown]
# ## Try next
#
# - `--data.noise 0.3` on the moons: which accuracy can no network exceed, and does a larger one come closer?
# - `--model.activation Tanh` on the moons: what becomes of the boundary's straight pieces?
# - `firstlight study configs/studies/demo.yaml` compares NumPy and PyTorch on three data sets with three seeds each.

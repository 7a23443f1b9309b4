# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. How far a recurrent network remembers
#
# A recurrent network reads a sequence one element at a time and has one state to keep what it will need. This notebook
# asks of the simplest one, a single tanh layer, how long it can keep one digit, why that is hard to learn, and what a
# memory looks like from inside. `docs/palindrome.md` tells the same story with all the numbers.
#
# Each section asks a question. Write your prediction down before you run the cell; the answers fold open.

# %%
import os
import tempfile
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image, Markdown, display

from callbacks.figures import PALETTE
from callbacks.memory import gradient_in_time
from configs import CONFIGS
from datamodules import PalindromeDataModule
from lit_models import VanillaRNN
from lit_models.rnn import OneHot
from scripts.main import main

quick = "FIRSTLIGHT_QUICK" in os.environ  # a trial run of every cell
QUICK = ["--trainer.max_epochs", 1, "--trainer.limit_train_batches", 5] if quick else []
plain = ["--trainer.callbacks", "[]", "--trainer.logger", "false", *QUICK]  # no pictures, no TensorBoard
LENGTHS = (5, 12) if quick else (5, 8, 12)
os.chdir(tempfile.mkdtemp(prefix="firstlight-"))
plt.rcParams.update({"axes.prop_cycle": plt.cycler(color=PALETTE), "legend.frameon": False})
plt.rcParams.update({"figure.constrained_layout.use": True, "figure.dpi": 90})

# %% [markdown]
# ## The task
#
# The network reads a palindrome of digits up to the last but one and has to say the last.
#
# **Question.** Which of the digits that it reads tell the answer?

# %%
data = PalindromeDataModule(length=9)
data.setup()
for digits, target in zip(data.train_set.samples[:4], data.train_set.targets[:4], strict=True):
    print(*digits.tolist(), "→", target.item())

# %% [markdown]
# <details><summary>Answer</summary>
#
# The first one, and no other: it is the last one. In a palindrome of T digits it has to survive T - 2 others that mean
# nothing. So the accuracy at length T measures memory and nothing else; a network that remembers nothing gets 10 %.
# </details>

# %% [markdown]
# ## The cell, written out
#
# $$h_t = \tanh(W_{hx} x_t + W_{hh} h_{t-1} + b_h), \qquad h_0 = 0, \qquad \text{logits} = W_{ph} h_T + b_o$$
#
# Four units and one-hot digits, step by step, against the project's `VanillaRNN`:

# %%
torch.manual_seed(0)
rnn = VanillaRNN(num_inputs=10, num_classes=10, hidden=4)
x = OneHot(10)(data.train_set.samples[:2])  # (2, 8, 10): two sequences, eight digits, ten components
h = torch.zeros(2, 4)
for t in range(x.shape[1]):
    h = torch.tanh(x[:, t] @ rnn.w_hx.T + h @ rnn.w_hh.T + rnn.b_h)  # (2, 4)
logits = h @ rnn.w_ph.T + rnn.b_o  # (2, 10)
print(f"input {tuple(x.shape)}, state {tuple(h.shape)}, logits {tuple(logits.shape)}")
print(f"largest difference to VanillaRNN: {(logits - rnn(x)).abs().max().item():.1e}")

# %% [markdown]
# ## How far does it learn to remember?
#
# One of the course reports feeds the digits as plain numbers 0 to 9 to 128 units and trains for 1,400 steps
# (`palindrome/report_a.yaml`). It finds perfect accuracy up to T = 8 and chance from T = 11 on. Here are two trainings
# that differ in one number alone: the scale of the first random weights $W_{hx}$ of the input, uniform in ±1 or in
# ±1/√128.
#
# **Question.** A factor of 11 in the first weights of the input: does it matter for the memory?

# %%
# %%capture
report_a = ["fit", "-c", CONFIGS / "palindrome/report_a.yaml", *QUICK]
scales = {"±1": "1.0", "±1/√128": "null"}
runs = {
    (name, length): main([*report_a, "--model.input_scale", scales[name], "--data.length", length])
    for name, length in product(scales, LENGTHS)
}

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.6))
for name, marker in zip(scales, "os", strict=True):
    accuracy = [runs[name, length].result["metrics"]["test/acc"] for length in LENGTHS]
    axes.plot(LENGTHS, accuracy, marker=marker, label=f"$W_{{hx}}$ starts in {name}")
axes.axhline(0.1, color="0.4", ls=":", label="chance")
axes.set(xlabel="length T of the palindrome", ylabel="test accuracy", ylim=(0, 1.05))
axes.legend()
plt.show()

# %% [markdown]
# Structure, parameters and shapes of the network, at the greatest length. **Question.** Which of these numbers change
# with T?

# %%
display(Markdown(Path(runs["±1", LENGTHS[-1]].run_dir, "layers.md").read_text()))

# %% [markdown]
# <details><summary>Answers</summary>
#
# It decides between chance and perfection. Why, the next section measures.
#
# The parameters do not depend on T: 128 · 1 for $W_{hx}$, 128 · 128 for $W_{hh}$, 128 biases, and (128 + 1) · 10 to
# read out. The same weights are used at every step, so the same network can read any length; only the batch's second
# axis grows.
# </details>

# %% [markdown]
# ## What the first digit can teach
#
# The weights learn to keep the first digit only if the loss at the end feels a change of the first state. Each run has
# measured that: the norm of $\partial L / \partial h_t$ for every step t, before training (0) and after some epochs;
# and the share of saturated units, |h| > 0.9, at every step.
#
# **Question.** Saturated units are a bad sign. Why?
#
# At T = 12, first with the large $W_{hx}$, then with the small one:

# %%
for name in scales:
    display(Image(runs[name, 12].run_dir / "figures/memory.png", width=760))

# %% [markdown]
# <details><summary>Answer</summary>
#
# One step back in time multiplies the gradient by $\text{diag}(1 - h^2) \, W_{hh}$. For a saturated unit tanh' = 1 -
# h² is below 0.19: what passes through it shrinks at least fivefold. Digits up to 9 times weights up to 1 push more
# than half of the units into saturation at the very first step, so the first state, the only one that knows the
# answer, is cut off from the loss (upper figure). What is left comes from the last digits, which have nothing to
# teach. With small input weights no unit is saturated at the start, much more of the gradient reaches the first step,
# and soon after learning has begun it is larger there than at the end (lower figure).
# </details>

# %% [markdown]
# ## A start that forgets nothing
#
# Without saturation the gradient still meets $W_{hh}$ at every step. Its singular values say how much a step stretches
# or shrinks.
#
# **Question.** Which $W_{hh}$ neither stretches nor shrinks anything?

# %%
torch.manual_seed(0)
sequences = PalindromeDataModule(length=60, num_sequences=1000)
sequences.setup()
inputs, targets = OneHot(10)(sequences.val_set.samples), sequences.val_set.targets
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
for init in ("default", "normal", "orthogonal"):
    rnn = VanillaRNN(10, 10, init=init, input_scale=0.1)
    left.plot(torch.linalg.svdvals(rnn.w_hh.detach()), label=init)
    states = rnn.states(inputs)
    right.semilogy(range(1, 60), gradient_in_time(states, rnn.readout(states[-1]), targets), label=init)
left.set(xlabel="number", ylabel="singular value of $W_{hh}$", title="before training")
right.set(xlabel="step in time $t$", ylabel=r"mean $\|\partial L / \partial h_t\|$", title="before training, T = 60")
right.legend(title="init")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# A rotation, an orthogonal matrix: all its singular values are 1, and its gradient loses less than a factor of ten in
# 59 steps. PyTorch's default draws $W_{hh}$ so that almost all directions shrink, and nothing to speak of is left at
# the first step. Normal weights of variance 1/H stretch some directions and shrink others; on average the gradient
# keeps its size, too, but what lies in a direction that shrinks is lost.
# </details>

# %% [markdown]
# **Question.** Same network, 20 digits, one-hot, the same 600 steps; only the initial weights differ: PyTorch's
# default, or $W_{hh}$ a rotation and the biases zero. What do you expect?

# %%
# %%capture
length_20 = ["fit", "-c", CONFIGS / "palindrome/report_b.yaml", "--data.length", 20, "--data.num_sequences", 16000]
length_20 += ["--data.fresh", "true", "--trainer.max_epochs", 6, "--model.input_scale", 0.1, *plain]
of_start = {init: main([*length_20, "--model.init", init]) for init in ("default", "orthogonal")}

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4))
for name, cli in of_start.items():
    history = [float(row["val/acc"]) for row in cli.record.rows]
    axes.plot(range(1, len(history) + 1), history, marker="o", label=name)
axes.axhline(0.1, color="0.4", ls=":", label="chance")
axes.set(xlabel="epoch of 100 steps", ylabel="validation accuracy", ylim=(0, 1.05), title="T = 20")
axes.legend(title="init")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Only the rotation learns in this time: with the default start no gradient comes from the digit that matters, and what
# does arrive teaches nothing. Nothing but the initial weights differs.
# </details>

# %% [markdown]
# ## A latch
#
# A rotation keeps everything in motion. Another memory stands still. Look at one unit without input, h → tanh(w h):
#
# **Question.** For which w does the unit remember on which side of 0 it was?

# %%
h = np.linspace(-1.1, 1.1, 200)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(h, h, color="0.6", lw=1)
for w in (0.5, 1.0, 3.0):
    left.plot(h, np.tanh(w * h), label=f"w = {w:g}")
left.set(xlabel="$h_{t-1}$", ylabel="$h_t$", title="fixed points are where the curve meets the diagonal")
left.legend()

designed = VanillaRNN(10, 10, init="latch")  # W_hh = 3 I, W_hx uniform in ±0.5
states = torch.stack(designed.states(inputs[:1])).detach()[:, 0]  # (59, 128)
right.plot(range(1, 60), states[:, :10], lw=1)
right.set(xlabel="step in time $t$", ylabel="$h_t$ of ten units", title="w = 3, while reading 59 digits")
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# For w > 1. With w < 1 every start ends at 0; with w = 3 there are two stable points near ±1. The digits push by at
# most 0.5, far too little to get over the hill between the two, so a unit stays where the first few digits put it, for
# ever.
# </details>

# %% [markdown]
# With such a $W_{hh}$ nothing is left to learn but the readout. This is a memory by *design*:

# %%
# %%capture
with_latch = main(["fit", "-c", CONFIGS / "palindrome/long_designed.yaml", "--trainer.max_epochs", 2, *plain])

# %%
print(f"T = 500, designed latch: test accuracy {with_latch.result['metrics']['test/acc']:.2%}")

# %% [markdown]
# ## Can it be learnt?
#
# `long_learned.yaml` starts from a rotation and a small $W_{hx}$, and trains on palindromes of changing, slowly
# growing length.
#
# **Question.** It is trained on lengths up to 100. On which lengths will it work?

# %%
# %%capture
learnt = main(["fit", "-c", CONFIGS / "palindrome/long_learned.yaml", "--data.length", 100, *plain])
longer = {
    length: main(["test", "--run", learnt.run_dir, "--data.length", length, "--data.num_sequences", 800])
    for length in ((200,) if quick else (100, 500, 1000))
}

# %%
for length, cli in longer.items():
    print(f"T = {length:5}: accuracy {cli.trainer.callback_metrics['test/acc'].item():.2%}")

# %% [markdown]
# Look inside: the states of ten units while they read one palindrome, before training and after it.

# %%
net = learnt.model.net
digits, targets = learnt.datamodule.test_set.samples[:640], learnt.datamodule.test_set.targets[:640]
before = VanillaRNN(10, 10, init="orthogonal", input_scale=0.1).states(net.encode(digits))
after = net.rnn.states(net.encode(digits))
figure, panels = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True)
for axes, states, title in zip(panels, (before, after), ("a rotation, before training", "learnt"), strict=True):
    axes.plot(range(1, 100), torch.stack(states).detach()[:, 0, :10], lw=1)
    axes.set(xlabel="step in time $t$", title=title)
panels[0].set(ylabel="$h_t$ of ten units", ylim=(-1.05, 1.05))
plt.show()

# %% [markdown]
# **Question.** And the gradient? If the first digit is remembered so well, must the loss not feel every state?

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4))
axes.semilogy(range(1, 100), gradient_in_time(after, net.rnn.readout(after[-1]), targets))
axes.set(xlabel="step in time $t$", ylabel=r"mean $\|\partial L / \partial h_t\|$", title="learnt memory, T = 100")
plt.show()

# %% [markdown]
# <details><summary>Answers</summary>
#
# It works far beyond the lengths it has seen. The rotation became a latch: within a few steps most units settle, many
# of them near +1 or -1, and what stands still after 50 digits stands still after 500. Training with *changing* lengths
# made it so: a code that turns with time would be read at the wrong moment.
#
# In this run the gradient is large at the very first step, while the digit is being written down, and falls by two
# orders of magnitude as the states settle. It is small *because* the memory works: a state that no digit can move
# cannot be moved by a small change either. A vanished gradient says that nothing more can be learnt from there. It
# does not say that nothing is remembered.
# </details>

# %% [markdown]
# ## Try next
#
# - `--model.recurrent_gain 1.1` with `palindrome/report_b.yaml`: what does a start that stretches a little do?
# - `--trainer.gradient_clip_val null` on the longest lengths: when do gradients explode?
# - `long_learned.yaml` without its curriculum, `--data.start_length null`: does it still learn?

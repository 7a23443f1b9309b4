# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. MLP and CNN on images
#
# An MLP reads an image as a list of numbers, a convolutional network as a picture. What does the second know that the
# first does not, what does it cost, and how does one see it?
#
# Each section asks a question. Write your prediction down before you run the cell; the answers fold open.
#
# `images` below chooses the data: MNIST (28 × 28) where `$PATH_DATASETS` holds it, else the 1,797 digits of 8 × 8
# pixels that scikit-learn brings along. The outputs and answers that you read here are MNIST's, from a short training
# on some 25,000 images, so the accuracies are not the best that these networks can do. On the small digits the effects
# point the same way and are smaller, and a digit that is moved loses strokes at the border.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from IPython.display import Image, Markdown, display
from matplotlib.ticker import EngFormatter
from torchvision.transforms.v2.functional import affine

import datamodules
from callbacks.figures import PALETTE
from callbacks.layer_table import trace_layers
from configs import CONFIGS
from scripts.main import main

quick = "FIRSTLIGHT_QUICK" in os.environ  # a trial run of every cell
has_mnist = "PATH_DATASETS" in os.environ and Path(os.environ["PATH_DATASETS"], "MNIST").is_dir()
images = "mnist" if has_mnist and not quick else "digits"
epochs = ["--trainer.max_epochs", 1 if quick else 2 if has_mnist else 30, "--trainer.limit_train_batches", 200]
plain = [*epochs, "--trainer.callbacks", "[]", "--trainer.logger", "false"]  # without pictures and TensorBoard
os.chdir(tempfile.mkdtemp(prefix="firstlight-"))
plt.rcParams.update({"axes.prop_cycle": plt.cycler(color=PALETTE), "legend.frameon": False})
plt.rcParams.update({"figure.constrained_layout.use": True, "figure.dpi": 90})

# %% [markdown]
# ## Two networks for one task
#
# **Question.** Which of the two has more parameters? And in which layer are most of them?

# %%
# %%capture
mlp = main(["fit", "-c", CONFIGS / images / "mlp.yaml", *epochs])
cnn = main(["fit", "-c", CONFIGS / images / "cnn.yaml", *epochs])

# %%
display(Markdown("**MLP**\n\n" + Path(mlp.run_dir, "layers.md").read_text()))
display(Markdown("**CNN**\n\n" + Path(cnn.run_dir, "layers.md").read_text()))

# %% [markdown]
# In each row: a batch of images (batch, channels, height, width) and what the layer makes of it. A linear layer from D
# to H numbers has (D + 1) · H parameters, a 3 × 3 convolution from C to K channels (9 C + 1) · K, however large the
# image is.
#
# <details><summary>Answer</summary>
#
# The CNN has more, which surprises those who heard that convolutions save parameters. They do: its two convolutions
# together have 18,816. Most of its parameters are in the first *linear* layer, which reads all that the convolutions
# return, one weight for each number and unit.
# </details>

# %% [markdown]
# ## Parameters are not work
#
# **Question.** Which layers of the CNN do most of the multiplications?

# %%
samples = cnn.datamodule.test_set.samples[:1]
layers = [layer for layer in trace_layers(cnn.model.net, samples) if layer.num_parameters]
positions = [torch.Size(layer.output_shape[2:]).numel() for layer in layers]  # 1 for a linear layer
names = [f"{layer.kind} {layer.input_shape[1]} → {layer.output_shape[1]}" for layer in layers]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.6), sharey=True)
left.barh(names, [layer.num_parameters for layer in layers])
right.barh(names, [layer.num_parameters * n for layer, n in zip(layers, positions, strict=True)], color=PALETTE[1])
for axes in (left, right):
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
left.set(xlabel="parameters", title="What is learnt")
right.set(xlabel="multiplications for one image, about", title="What is computed")
left.invert_yaxis()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The second convolution. A convolution's weights are used once at every position of the image, those of a linear layer
# once in all. So a CNN keeps its knowledge in the linear layer and spends its time in the convolutions.
# </details>

# %% [markdown]
# ## Does the network know that it looks at a picture?
#
# Shuffle the pixels: draw one permutation and apply it to all images, training, validation and test. To us the digits
# are noise now. A data set of one's own is a class with a method `load`; the command line takes it by name.
#
# **Question.** What becomes of the accuracy of the MLP, and of the CNN?

# %%
original = getattr(datamodules, {"mnist": "MNISTDataModule", "digits": "DigitsDataModule"}[images])


class Shuffled(original):
    """The same images, their pixels in one random order."""

    def load(self):
        """Permute the pixels of every image alike."""
        parts = super().load()
        pixels = torch.randperm(parts[0].samples[0].numel(), generator=torch.Generator().manual_seed(0))
        for part in parts:
            part.samples = part.samples.flatten(1)[:, pixels].view_as(part.samples)
        return parts


# %%
# %%capture
shuffled = ["--data", "__main__.Shuffled", *plain]
mlp_shuffled = main(["fit", "-c", CONFIGS / images / "mlp.yaml", *shuffled])
cnn_shuffled = main(["fit", "-c", CONFIGS / images / "cnn.yaml", *shuffled])

# %%
figure, panels = plt.subplots(2, 6, figsize=(9, 3.2))
for row, cli in zip(panels, (mlp, mlp_shuffled), strict=True):
    for axes, image in zip(row, cli.datamodule.test_set.samples, strict=False):
        axes.imshow(image[0].numpy(), cmap="gray")
        axes.axis("off")
plt.show()

# %%
figure, axes = plt.subplots(figsize=(8, 2.6))
pairs = {"MLP": (mlp, mlp_shuffled), "CNN": (cnn, cnn_shuffled)}
for row, runs in enumerate(pairs.values()):
    errors = [100 * (1 - cli.result["metrics"]["test/acc"]) for cli in runs]
    bars = axes.barh([row - 0.2, row + 0.2], errors, height=0.36, color=PALETTE[:2])
    axes.bar_label(bars, [f"{error:.1f} %" for error in errors], padding=3)
axes.set(xlabel="test error, %", yticks=range(2), yticklabels=pairs)
axes.invert_yaxis()
figure.legend(bars, ["pixels in place", "pixels shuffled"], loc="outside right center")
axes.margins(x=0.15)
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# The MLP does not care: each of its first weights belongs to one pixel, wherever that pixel is, and a permutation only
# renames them (the small difference comes from other random first weights meeting a pixel). The CNN loses what it had
# over the MLP: its 3 × 3 filters look at neighbours, and neighbours no longer belong together. What the CNN knows
# before it has seen one image is that near pixels make a pattern, and that a pattern means the same wherever it is.
# </details>

# %% [markdown]
# ## One convolution, computed by hand
#
# A filter is a small picture of what it looks for. At each position, multiply it with the patch under it, add all up,
# add the bias.

# %%
convolution = cnn.model.net[1]
normalized = cnn.model.net[0](samples)  # (1, 1, H, W), about zero mean and unit deviation
maps = convolution(normalized)  # (1, 32, H, W): one map a filter, zero padding keeps the size
k, i, j = 5, maps.shape[2] // 2, maps.shape[3] // 2  # filter, row, column
patch = normalized[0, 0, i - 1 : i + 2, j - 1 : j + 2]
by_hand = (convolution.weight[k, 0] * patch).sum() + convolution.bias[k]
print(f"by hand {by_hand.item():.6f}, Conv2d {maps[0, k, i, j].item():.6f}")

# %% [markdown]
# **Question.** Move the image to the right by an eighth of its width. What happens to the map? And to what the MLP's
# first layer returns?

# %%
shift = samples.shape[3] // 8
moved = torch.roll(normalized, shift, dims=3)  # what leaves on the right comes back on the left
change = (convolution(moved) - torch.roll(maps, shift, dims=3))[..., shift + 1 : -1].abs().max().item()
print(f"CNN: moved map against map of the moved image, largest difference {change:.1e}")
hidden, hidden_moved = (mlp.model.net[2](image.flatten(1)) for image in (normalized, moved))
correlation = torch.corrcoef(torch.cat([hidden, hidden_moved]))[0, 1].item()
print(f"MLP: correlation of the hidden units before and after {correlation:.2f}")

# %% [markdown]
# <details><summary>Answer</summary>
#
# The map moves along, unchanged: convolution and shift can be exchanged ("equivariance"). For the MLP, whose units
# have one weight for each pixel, there is no such rule: what they return for the moved image resembles what they
# returned before only as far as the two images overlap.
# </details>

# %% [markdown]
# ## What the first layer has learnt to see
#
# **Question.** What would you look for, if you could look at 3 × 3 pixels only?

# %%
display(Image(cnn.run_dir / "figures/first_layer_filters.png", width=560))

# %%
display(Image(cnn.run_dir / "figures/first_layer_maps.png", width=900))

# %% [markdown]
# <details><summary>Answer</summary>
#
# Many filters are bright on one side and dark on the other: edges, in several directions. In the maps one filter
# lights up the upper rims of the strokes, another the left ones; some show the stroke itself, some its negative. The
# next convolution combines these maps into corners and ends of strokes, and the pooling layers forget a little of
# where they were.
# </details>

# %% [markdown]
# ## Where it errs
#
# **Question.** Which digits does it take for each other? Which of its errors would you make too?

# %%
display(Image(cnn.run_dir / "figures/confusion_matrix.png", width=520))

# %%
display(Image(cnn.run_dir / "figures/confident_mistakes.png", width=640))

# %% [markdown]
# <details><summary>Answer</summary>
#
# The errors gather in few cells of the matrix, pairs that share strokes. The page of the surest errors, each with what
# the network says and what the label says, is worth more than the accuracy: some images are hard for anyone, some
# labels are doubtful, and the rest tells what is still to be learnt.
# </details>

# %% [markdown]
# ## Moved digits, and augmentation
#
# All digits of the data set are centred. A user's digits will not be.
#
# **Question.** The test images are moved to the right by 0, 1, 2, 3 pixels. Which network notices more, MLP or CNN?
# And how much does it help to move the training images at random (`RandomCrop`)?

# %%
# %%capture
crop = '[{"class_path": "datamodules.RandomCrop", "init_args": {"padding": 2}}]'
networks = {
    "MLP": mlp,
    "MLP, augmented": main(["fit", "-c", CONFIGS / images / "mlp.yaml", *plain, "--data.augment", crop]),
    "CNN": cnn,
    "CNN, augmented": main(["fit", "-c", CONFIGS / images / "cnn.yaml", *plain, "--data.augment", crop]),
}

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.6))
shifts, test_set = range(4), mlp.datamodule.test_set
samples, targets = test_set.samples[:2000], test_set.targets[:2000]
for (name, cli), style in zip(networks.items(), ("o-", "o--", "s-", "s--"), strict=True):
    accuracy = []
    for shift in shifts:
        moved = affine(samples, angle=0.0, translate=[shift, 0], scale=1.0, shear=[0.0])
        with torch.no_grad():
            accuracy.append((cli.model(moved).argmax(dim=1) == targets).float().mean().item())
    axes.plot(shifts, accuracy, style, color=PALETTE[0 if "MLP" in name else 1], label=name)
axes.set(xlabel="shift of the test images, pixels", ylabel="test accuracy", xticks=shifts)
axes.legend()
plt.show()

# %% [markdown]
# <details><summary>Answer</summary>
#
# Both suffer, the MLP more. That convolutions are equivariant does not make the whole CNN blind to shifts: the linear
# layer behind them has one weight for each position. Pooling buys a tolerance of a pixel or two, augmentation buys as
# much as it shows, and a little beyond. It costs nothing at prediction time, and the augmented network never meets
# quite the same image twice.
# </details>

# %% [markdown]
# ## Try next
#
# - `firstlight predict --run ... --images my_digits/` with digits of your own hand. Are they centred?
# - `--model.layers "[conv3-32, relu, maxpool2, conv3-64, relu, maxpool2, conv3-64, relu, flatten]"`: a CNN without the
#   large linear layer.
# - `configs/mnist/mlp_best.yaml`: how far augmentation and a schedule bring the same MLP.

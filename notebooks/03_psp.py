# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What a neuron receives
#
# Weight decay asks every weight to be small, wherever it sits and whatever reaches it.
# Tartaglione et al. ([arXiv 1907.08544](https://arxiv.org/abs/1907.08544)) ask
# something else to be small: the **post-synaptic potential** z, the value that arrives
# at a neuron before its non-linearity. With L layers,
#
# $$J = \text{cross-entropy} + \gamma R, \qquad
# R = \frac1L \sum_{l=1}^{L} \operatorname{mean}\left(z_l^2\right),$$
#
# the mean taken over the batch and the neurons of a layer. What does this do to the
# pre-activations, to the weights, and to the errors? Here is a network small enough to
# train many times over.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.ticker import NullFormatter

import pruning
from synaptax.data.images import Batch, load

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
EPOCHS, SEEDS = (6, 2) if SMALL else (60, 5)
BATCH = 50

plt.rcParams.update({"figure.dpi": 72, "font.size": 11, "axes.grid": True})
plt.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe, Ito

# %% [markdown]
# ## Taking z out of a network that does not hand it over
#
# The network is a plain function; it returns logits and nothing else.
# `pruning.preactivations` traces it and hands out what enters each ReLU, and the
# logits, which the authors count as one more layer. A pixel without ink is 0.

# %%
digits = load("digits", center=False)


def flat(batch):
    return Batch(jnp.asarray(batch.image).reshape(-1, 64), jnp.asarray(batch.label))


TRAIN, VALIDATION, TEST = map(flat, (digits.train, digits.validation, digits.test))
LAYERS = ("first", "second", "third")


def init(key):
    shapes = ((64, 100), (100, 50), (50, 10))
    bounds = [1 / shape[0] ** 0.5 for shape in shapes]
    keys = jax.random.split(key, 3)
    return {
        name: {
            "w": jax.random.uniform(key, shape, minval=-bound, maxval=bound),
            "b": jnp.zeros(shape[1]),
        }
        for name, key, shape, bound in zip(LAYERS, keys, shapes, bounds, strict=True)
    }


def network(params, x):
    for name in LAYERS[:-1]:
        x = jax.nn.relu(x @ params[name]["w"] + params[name]["b"])
    return x @ params["third"]["w"] + params["third"]["b"]


tapped = pruning.preactivations(network)
logits, zs = tapped(init(jax.random.key(0)), TEST.image)
print("what arrives at the neurons of a fresh network, on 400 test digits:")
for path, z in zs.items():
    print(f"  {path:8} shape {z.shape!s:10} mean of z² {float(jnp.mean(z**2)):.4f}")
print(f"R = {float(pruning.psp_penalty(zs)):.4f}")

# %% [markdown]
# ## One pass for loss and penalty
#
# `with_psp` takes the z's out of the evaluation of the loss itself. Below, its gradient
# stands beside the sum of two gradients taken apart, and beside what the optax
# transform `psp_regularization` makes of the plain gradient. All three are the same.


# %%
def loss_fn(params, batch):
    logits = network(params, batch.image)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.label)
    return losses.mean(), logits


def objective(gamma):
    return pruning.with_psp(loss_fn, gamma, logits=lambda aux: aux, has_aux=True)


@jax.jit
def three_ways(params, batch):
    one, _ = jax.grad(objective(0.1), has_aux=True)(params, batch)
    plain, _ = jax.grad(loss_fn, has_aux=True)(params, batch)
    penalty = jax.grad(lambda p: pruning.psp_penalty(tapped(p, batch.image)[1]))(params)
    two = jax.tree.map(lambda g, r: g + 0.1 * r, plain, penalty)
    transform = pruning.psp_regularization(network, 0.1)
    three, _ = transform.update(plain, transform.init(params), params, batch=batch)
    return [tree["first"]["w"] for tree in (one, two, three)]


some = jax.tree.map(lambda leaf: leaf[:BATCH], TRAIN)
ways = three_ways(init(jax.random.key(1)), some)
for name, found in zip(("with_psp", "two gradients", "transform"), ways, strict=True):
    print(f"{name:14} first layer: {np.asarray(found)[20, :4]}")
    np.testing.assert_allclose(found, ways[1], rtol=1e-4, atol=1e-6)

# %% [markdown]
# ## Training many networks at once
#
# The weight of the penalty may be a traced number, so one compiled program trains every
# network of this notebook: a grid of strengths times several seeds, side by side. Plain
# SGD, a constant learning rate of 0.1, as in the authors' code; L2 means weight decay.

# %%
GAMMAS = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
DECAYS = (1e-4, 1e-3, 3e-3, 1e-2)
GRID = jnp.asarray([(g, 0.0) for g in GAMMAS] + [(0.0, d) for d in DECAYS])


def measure(params, batch):
    logits, zs = tapped(params, batch.image)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.label)
    wrong = jnp.argmax(logits, axis=-1) != batch.label
    squares = jnp.stack(list(pruning.mean_squares(zs).values()))
    return {"loss": losses.mean(), "error": 100 * wrong.mean(), "squares": squares}


def train(key, strengths):
    gamma, decay = strengths
    start, order = jax.random.split(key)
    params = init(start)
    grad_fn = jax.grad(objective(gamma), has_aux=True)

    def step(params, rows):
        batch = Batch(TRAIN.image[rows], TRAIN.label[rows])
        grads, _ = grad_fn(params, batch)
        return jax.tree.map(lambda w, g: w - 0.1 * (g + decay * w), params, grads), None

    def epoch(params, key):
        rows = jax.random.permutation(key, len(TRAIN.label))
        params, _ = jax.lax.scan(step, params, rows.reshape(-1, BATCH))
        return params, measure(params, VALIDATION)

    params, history = jax.lax.scan(epoch, params, jax.random.split(order, EPOCHS))
    return params, history, measure(params, TEST)


over_seeds = jax.vmap(train, in_axes=(0, None))
over_grid = jax.jit(jax.vmap(over_seeds, in_axes=(None, 0)))
members, history, test = over_grid(jax.random.split(jax.random.key(0), SEEDS), GRID)
history, test = jax.tree.map(np.asarray, (history, test))
count = len(GRID) * SEEDS
print(f"trained {count} networks, {EPOCHS} epochs of {len(TRAIN.label) // BATCH} steps")


# %% [markdown]
# ## How strong?
#
# The strength is chosen where it should be, on validation, for the penalty and for
# weight decay alike: by the mean cross-entropy over seeds, or by the mean error. Only
# then is the test set read, at those places. The two choices differ: a strong penalty
# keeps the logits so small that the network cannot be sure of anything, which the
# cross-entropy minds and the error does not.


# %%
def chosen(rows, by="loss"):
    """Return the row of the grid that does best on validation."""
    return rows[int(np.argmin(history[by][rows, :, -1].mean(1)))]


NONE = 0
PENALISED, DECAYED = np.arange(1, len(GAMMAS)), np.arange(len(GAMMAS), len(GRID))
PSP, L2 = chosen(PENALISED), chosen(DECAYED)
SHOWN = {"none": (NONE, GREY), "L2": (L2, ORANGE), "PSP": (PSP, BLUE)}
print("chosen by       strength  test error, %  cross-entropy       R")
table = {name: row for name, (row, _) in SHOWN.items()}
table |= {
    "L2, by error": chosen(DECAYED, "error"),
    "PSP, by error": chosen(PENALISED, "error"),
}
for name, row in table.items():
    errors, losses = test["error"][row], test["loss"][row]
    spread = f"{errors.mean():.2f} ± {errors.std(ddof=1):.2f}"
    R = test["squares"][row].mean()
    strength = float(GRID[row].sum())
    print(f"{name:15} {strength:8g} {spread:>14} {losses.mean():14.4f} {R:7.2f}")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for panel, key, label in (
    (left, "loss", "validation cross-entropy (nats)"),
    (right, "error", "validation error (%)"),
):
    values = history[key][..., -1]
    for rows, strengths, colour, name in (
        (PENALISED, GAMMAS[1:], BLUE, "PSP, strength γ"),
        (DECAYED, DECAYS, ORANGE, "L2, weight decay"),
    ):
        mean, error = values[rows].mean(1), values[rows].std(1, ddof=1) / SEEDS**0.5
        panel.errorbar(strengths, mean, error, color=colour, marker="o", label=name)
    panel.axhline(values[NONE].mean(), color=GREY, linestyle="--", label="none")
    panel.set(xscale="log", xlabel="strength", ylabel=label)
left.legend()
plt.show()

# %% [markdown]
# ## What happens to z
#
# Without a regulariser the pre-activations grow as long as training goes on: the
# cross-entropy of examples that are right already falls a little further each time the
# logits grow. Weight decay slows this down. The penalty stops it: R rises in the first
# epochs, as the network must say something, and then falls or stays.

# %%
figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.4), layout="constrained")
epochs = 1 + np.arange(EPOCHS)
for index, (panel, path) in enumerate(zip(panels, zs, strict=True)):
    for name, (row, colour) in SHOWN.items():
        squares = history["squares"][row, :, :, index]
        panel.plot(epochs, squares.mean(0), color=colour, label=name)
        low, high = squares.min(0), squares.max(0)
        panel.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.set(title=path, xlabel="epoch", yscale="log")
    panel.yaxis.set_minor_formatter(NullFormatter())
panels[0].set_ylabel("mean of z², validation")
panels[0].legend()
plt.show()


# %%
def of(row, seed=0):
    """Return the parameters of one network of the grid."""
    return jax.tree.map(lambda leaf: leaf[row, seed], members)


received = {name: tapped(of(row), TEST.image)[1] for name, (row, _) in SHOWN.items()}
figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.4), layout="constrained")
for panel, path in zip(panels, zs, strict=True):
    reach = float(np.quantile(np.abs(received["none"][path]), 0.999))
    bins = np.linspace(-reach, reach, 61)
    for name, (_, colour) in SHOWN.items():
        values = np.ravel(received[name][path])
        panel.hist(
            values, bins, density=True, histtype="step", color=colour, label=name
        )
    panel.set(title=path, xlabel="z", yscale="log")
panels[0].set_ylabel("density, test digits")
panels[0].legend()
plt.show()
print("share of a layer's potentials that are negative, so that the ReLU is silent:")
for name in SHOWN:
    share = [100 * float(np.mean(np.asarray(z) < 0)) for z in received[name].values()]
    silent = ", ".join(f"{one:4.1f} %" for one in share[:2])
    print(f"  {name:5} first and second layer: {silent}")

# %% [markdown]
# ## What happens to the weights
#
# A small z does not need small weights: large ones may stay where what they add
# cancels, or where no ink ever falls. Weight decay shrinks a weight that meets nothing
# like any other, and nothing feeds it. The penalty cannot see such a weight at all: it
# stays where it started. The first layer, seen from the pixels, tells the two apart.

# %%
first = jax.random.split(jax.random.key(0), SEEDS)[0]  # the seed that is shown
start = init(jax.random.split(first)[0])["first"]["w"]
pictures = {"start": np.asarray(start)}
for name, (row, _) in SHOWN.items():
    pictures[name] = np.asarray(of(row)["first"]["w"])
figure, panels = plt.subplots(1, 4, figsize=(9.6, 2.9), layout="constrained")
top = max(np.sqrt((w**2).mean(1)).max() for w in pictures.values())
for panel, (name, w) in zip(panels, pictures.items(), strict=True):
    size = np.sqrt((w**2).mean(1)).reshape(8, 8)
    image = panel.imshow(size, vmin=0, vmax=top, cmap="cividis")
    panel.set(title=name, xticks=[], yticks=[])
    panel.grid(False)
figure.colorbar(image, ax=panels, label="r.m.s. weight of a pixel", shrink=0.85)
plt.show()
ink = np.sqrt((np.asarray(TRAIN.image) ** 2).mean(0))
blank = ink < 0.02 * ink.max()
print(
    f"{blank.sum()} of 64 pixels have next to no ink; r.m.s. weight there, elsewhere:"
)
for name, w in pictures.items():
    there, rest = (np.sqrt((w[rows] ** 2).mean()) for rows in (blank, ~blank))
    print(f"  {name:6} {there:.4f}   {rest:.4f}")

# %% [markdown]
# Elsewhere the weights hardly tell the three apart. Their histograms lie on one
# another; they are arranged differently, so that less of what they carry adds up.

# %%
figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.3), layout="constrained")
for panel, layer in zip(panels, LAYERS, strict=True):
    reach = float(np.abs(of(NONE)[layer]["w"]).max())
    bins = np.linspace(-reach, reach, 61)
    for name, (row, colour) in SHOWN.items():
        values = np.ravel(of(row)[layer]["w"])
        panel.hist(
            values, bins, density=True, histtype="step", color=colour, label=name
        )
    panel.set(title=f"{layer} layer", xlabel="value of a weight", yscale="log")
panels[0].set_ylabel("density")
panels[0].legend()
plt.show()

# %% [markdown]
# ## Local or not
#
# The penalty of a deep layer also tells the earlier ones to send less. With
# `local=True` each layer's z reaches only that layer's own weights, as in a variant of
# the authors' code; values are the same, gradients are not.


# %%
@jax.jit
def reach(params, x):
    """Return, for each z, the size of its gradient in each layer's weights."""

    def table(local):
        own = pruning.preactivations(network, local=local)
        value = lambda p, path: jnp.mean(own(p, x)[1][path] ** 2)
        slopes = {path: jax.grad(value)(params, path) for path in zs}
        norm = lambda tree, layer: jnp.linalg.norm(tree[layer]["w"])
        return [[norm(slopes[path], layer) for layer in LAYERS] for path in zs]

    return {"everything": table(False), "local": table(True)}


for name, rows in reach(of(PSP), some.image).items():
    print(f"{name}: size of the gradient of mean z² in the weights of each layer")
    for path, sizes in zip(zs, rows, strict=True):
        print(f"  {path:8}", "  ".join(f"{float(size):8.4f}" for size in sizes))

# %% [markdown]
# ## In short
#
# - z can be had from any network function, at no change to it, and the penalty costs
#   about nothing: the z's are computed anyway.
# - The penalty bounds what neurons receive, where weight decay only slows its growth,
#   and keeps the logits, hence the confidence, in check. It does so without making the
#   weights smaller.
# - Weights that meet nothing are left alone by it. For pruning, that argues for adding
#   a term that sees them, such as the sensitivity decay of notebook 02; the two go into
#   one optax chain.
# - Chosen by cross-entropy, the penalty leaves the test error where it was, within the
#   spread of the seeds; chosen by validation error it is far stronger and takes almost
#   a third of the errors away. But 400 test digits tell little: one digit is 0.25 %.
#   The comparison on MNIST and Fashion-MNIST is in `RESULTS.md`.

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
# # A small transformer: half its heads, half its hidden units
#
# Zeros in a dense kernel save nothing by themselves: the machine multiplies by them
# all the same. What saves is to take whole units out. This notebook trains a
# transformer of two blocks to foretell the next character of Python's own
# documentation, prunes whole attention heads and hidden units while it trains, takes
# them out for good, and measures what that buys here. Beside it, to the same number of
# weights, single weights are pruned, which saves nothing on this device.

# %%
import os
from pydoc_data import topics

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import pruning
from synaptax.nets.transformer import CharTransformer

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
STEPS = 10 if SMALL else 400  # dense, and as many again while pruning
BATCH, CONTEXT = (8, 32) if SMALL else (32, 64)

plt.rcParams.update({"figure.dpi": 72, "font.size": 11, "axes.grid": True})
plt.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe, Ito

# %% [markdown]
# ## Text
#
# The topics of `help()` ship with Python. The first nine tenths are trained on, the
# last tenth is kept for the test.

# %%
text = "\n".join(topics.topics[name] for name in sorted(topics.topics))
alphabet = sorted(set(text))
codes = np.searchsorted(alphabet, list(text)).astype(np.int32)
cut = 9 * len(codes) // 10
TRAIN, TEST = jnp.asarray(codes[:cut]), jnp.asarray(codes[cut:])
print(f"{len(text):,} characters, {len(alphabet)} different ones")


def windows(source, starts):
    """Return a text of CONTEXT + 1 characters from each start, (B, CONTEXT + 1)."""
    return source[starts[:, None] + jnp.arange(CONTEXT + 1)]


def nats(apply_fn, params, text):
    """Return the mean cross-entropy of the next character."""
    logits = apply_fn(params, text[:, :-1])
    labels = text[:, 1:]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


starts = jnp.arange(0, len(TEST) - CONTEXT, CONTEXT)
HELD = windows(TEST, starts[: 16 if SMALL else 256])
bits = jax.jit(
    lambda apply_fn, params: nats(apply_fn, params, HELD) / jnp.log(2),
    static_argnums=0,
)

# %% [markdown]
# ## Train it dense

# %%
net = CharTransformer(
    len(alphabet), CONTEXT, width=64, size=16, heads=(4, 4), hidden=(256, 256)
)
net_fn = lambda params, x: net.apply({"params": params}, x)


def train(tx, params, key, steps):
    """Return the parameters, and the training loss of each step."""

    def step(carry, key):
        params, state = carry
        starts = jax.random.randint(key, (BATCH,), 0, len(TRAIN) - CONTEXT)
        batch = windows(TRAIN, starts)
        loss, grads = jax.value_and_grad(lambda p: nats(net_fn, p, batch))(params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    run = lambda params, keys: jax.lax.scan(step, (params, tx.init(params)), keys)
    (params, _), losses = jax.jit(run)(params, jax.random.split(key, steps))
    return params, np.asarray(losses) / np.log(2)


start = net.init(jax.random.key(0), HELD[:1, :-1])["params"]
dense, dense_loss = train(optax.adam(3e-3), start, jax.random.key(1), STEPS)
print(f"dense: {float(bits(net_fn, dense)):.2f} bits a character on held-out text")

# %% [markdown]
# ## Prune heads and hidden units
#
# A structure says what goes as one. A value kernel has shape (width, heads, size):
# groups along its axis before the last are heads. A column of a perceptron's first
# kernel is a hidden unit. Two `prune`s with different `prunable` share a chain, for
# neither touches what is the other's.

# %%
WHEN = pruning.polynomial(0, STEPS // 2, 0.5, every=max(STEPS // 20, 1))
heads = pruning.prune(
    WHEN,
    scope="layer",
    structure=pruning.input_channel(),
    prunable=lambda path, leaf: path.endswith("value/kernel"),
)
hidden = pruning.prune(
    WHEN,
    scope="layer",
    structure=pruning.neuron(),
    prunable=lambda path, leaf: path.endswith("Dense_0/kernel") and "Block" in path,
)
units, units_loss = train(
    optax.chain(optax.adam(1e-3), heads, hidden), dense, jax.random.key(2), STEPS
)
small = pruning.compact(net, units, HELD[:, :-1])
print(f"heads {net.heads} -> {small.module.heads}")
print(f"hidden units {net.hidden} -> {small.module.hidden}")
print(f"outputs moved by {small.error:.0e} of the largest")

# %% [markdown]
# For the same number of weights, single ones: the density is what `compact` left.

# %%
size = lambda params: sum(leaf.size for leaf in jax.tree.leaves(params))
left = size(small.params) / size(dense)
single = pruning.prune(pruning.polynomial(0, STEPS // 2, left, every=STEPS // 10))
weights, weights_loss = train(
    optax.chain(optax.adam(1e-3), single), dense, jax.random.key(2), STEPS
)
trained, trained_loss = train(optax.adam(1e-3), dense, jax.random.key(2), STEPS)

figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
mean = lambda loss: np.convolve(loss, np.ones(5) / 5, "valid")
axis.plot(mean(dense_loss), color=GREY, label="dense")
later = STEPS + np.arange(len(mean(units_loss)))
for loss, colour, style, name in (
    (trained_loss, GREY, ":", "dense, trained on"),
    (weights_loss, GREEN, "--", "single weights pruned"),
    (units_loss, ORANGE, "-", "heads and hidden units pruned"),
):
    axis.plot(later, mean(loss), color=colour, ls=style, label=name)
axis.axvline(STEPS, color="k", lw=0.8)
axis.set(xlabel="step", ylabel="training loss (bits a character)")
axis.set_title("Pruning begins at the line; means of 5 steps")
axis.legend(fontsize=9)
plt.show()

# %% [markdown]
# ## What is left
#
# The norm of each head's values, over the largest of its block. What was pruned is
# exactly 0.

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharey=True, layout="constrained")
for index, axis in enumerate(axes):
    kernel = np.asarray(units[f"Block_{index}"]["value"]["kernel"])
    norm = np.sqrt((kernel**2).sum((0, 2)))
    axis.bar(range(len(norm)), norm / norm.max(), color=BLUE)
    axis.set(xlabel="head", title=f"block {index}", xticks=range(len(norm)))
axes[0].set_ylabel("relative norm")
plt.show()

# %% [markdown]
# ## What it buys here
#
# `report` counts multiply-adds by tracing and measures the latency of the dense
# network, of the masked one and of the smaller one on this device.

# %%
x = HELD[:1, :-1]
counted = pruning.report(
    units, apply_fn=net_fn, x=x, compacted=small, batches=(1,) if SMALL else (1, 64)
)
print(pruning.to_text(counted))

# %%
cases = {
    "dense,\ntrained on": (net_fn, trained, GREY),
    "single weights\npruned": (net_fn, weights, GREEN),
    "units\ncompacted": (small.apply_fn, small.params, ORANGE),
}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for place, (name, (apply_fn, params, colour)) in enumerate(cases.items()):
    value = float(bits(apply_fn, params))
    nonzero = sum(int(np.count_nonzero(leaf)) for leaf in jax.tree.leaves(params))
    print(f"{name!r:26} {value:.3f} bits, {nonzero:,} weights that are not 0")
    axes[0].bar(place, value, color=colour)
    axes[1].bar(place, nonzero / 1000, color=colour)
for axis in axes:
    axis.set_xticks(range(len(cases)), cases, fontsize=9)
axes[0].set(ylabel="bits a character", title="held-out text (lower is better)")
axes[1].set(ylabel="thousands", title="weights that are not 0")
plt.show()

# %% [markdown]
# ## What to take along
#
# - Only units that are taken out make the network smaller and faster on a dense device:
#   `compact` gives a smaller Flax module with the same outputs.
# - One run with one seed shows how it is done. How much is lost, and how sure that is,
#   takes several seeds and a longer training.

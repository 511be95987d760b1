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
# # Two minima
#
# A network can lose most of its weights in two ways. **Gradually**: shrink and cut a
# little at a time, and let it recover between the cuts. Or **at once**: cut
# everything, then train what is left. Suppose that both end with exactly as many
# weights, after as many steps. Are they in the same kind of place?
#
# Tartaglione et al. ([arXiv 2004.14765](https://arxiv.org/abs/2004.14765)) say no: the
# gradual solution, G, sits in a *sharper* minimum than the one-shot solution, S, and
# yet generalises; and its neurons are *less* tied to single classes. Here we look at
# one such pair on handwritten digits, with the tools to check each part of the
# statement: the landscape between the two, the spectrum of the curvature, and the
# entropy of what the neurons say. At the end we ask several pairs whether the first
# one was typical.
#
# One pair shows what the tools do. It proves nothing about pruning; for that see the
# recorded comparisons in RESULTS.md, made by `python -m analysis minima`.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from IPython.display import display

import analysis
import pruning
from analysis import plane_plots, plots
from analysis.minima.claims import interval
from analysis.minima.report import number
from synaptax.data.images import load
from synaptax.nets import models

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
SEEDS = 2 if SMALL else 6
DENSE, STEPS = (40, 60) if SMALL else (400, 1800)
DENSITY = 0.02  # 50x
G, S = "G (gradual)", "S (one-shot)"

plt.rcParams.update({"figure.dpi": 58, "font.size": 11})

# %% [markdown]
# ## A pair
#
# LeNet-300-100 on 8 x 8 digits. Both members of a pair begin from the same dense
# network and see the same batches.
#
# - **G** gets a pull towards zero on the weights that the loss does not feel
#   (LOBSTER's, [arXiv 2011.09905](https://arxiv.org/abs/2011.09905)) and loses weights
#   on a cubic schedule over the first two thirds.
# - **S** loses all but the largest 2 % at its first step.
#
# `prune` keeps exactly as many weights as asked for, so the two are equally sparse to
# the last weight. Seeds are trained side by side by `vmap`.

# %%
digits = load("digits")
TRAIN = (jnp.asarray(digits.train.image), jnp.asarray(digits.train.label))
TEST = (jnp.asarray(digits.test.image), jnp.asarray(digits.test.label))
init_fn, apply_fn = models.build("lenet300", 10, (8, 8, 1))
loss_fn = analysis.mean_loss(apply_fn)


def trainer(tx, steps):
    """Return a jitted (keys, params) -> (params, losses) for a vector of seeds."""

    def one(key, params):
        def step(carry, key):
            params, state = carry
            index = jax.random.randint(key, (100,), 0, len(TRAIN[1]))
            batch = TRAIN[0][index], TRAIN[1][index]
            loss, grads = jax.value_and_grad(loss_fn)(params, batch)
            updates, state = tx.update(grads, state, params, grads=grads)
            return (optax.apply_updates(params, updates), state), loss

        carry = (params, tx.init(params))
        (params, _), losses = jax.lax.scan(step, carry, jax.random.split(key, steps))
        return params, losses

    return jax.jit(jax.vmap(one))


sgd = optax.sgd(0.05, momentum=0.9)
gradually = pruning.polynomial(begin=0, end=2 * STEPS // 3, density=DENSITY, every=20)
chains = {
    G: optax.chain(sgd, pruning.loss_sensitivity_decay(1e-4), pruning.prune(gradually)),
    S: optax.chain(sgd, pruning.prune(pruning.one_shot(1, DENSITY))),
}
first, second = jax.random.split(jax.random.key(0))
keys = jax.random.split(first, SEEDS)
params = jax.vmap(init_fn)(jax.random.split(second, SEEDS))
dense, _ = trainer(sgd, DENSE)(keys, params)
ended = {name: trainer(tx, STEPS)(keys, dense) for name, tx in chains.items()}


def member(tree, seed=0):
    return jax.tree.map(lambda leaf: leaf[seed], tree)


def mask_of(params):
    """Weights that are not zero, and all biases."""
    return jax.tree.map(lambda leaf: (leaf != 0) | (leaf.ndim < 2), params)


pair = {name: member(params) for name, (params, _) in ended.items()}
masks = {name: mask_of(params) for name, params in pair.items()}
for name, mask in masks.items():
    counts = pruning.count(mask)
    print(f"{name:13} keeps {counts.kept:,} of {counts.total:,} weights")

# %%
figure, axis = plt.subplots(figsize=(8, 3.8))
width = max(STEPS // 60, 1)
for (name, (_, losses)), colour in zip(ended.items(), plots.COLOURS, strict=False):
    smooth = losses[0][: len(losses[0]) // width * width].reshape(-1, width).mean(1)
    axis.plot(width * np.arange(len(smooth)), smooth, color=colour, label=name)
axis.axvline(2 * STEPS // 3, color=plots.GREY, ls=":", lw=1)
axis.text(2 * STEPS // 3, axis.get_ylim()[1], " last cut of G", va="top", fontsize=9)
axis.set_yscale("log")
axis.set_xlabel("step after the dense network")
axis.set_ylabel("training loss (nats)")
axis.legend()
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# S starts high, for it has lost everything at once, and comes down. G starts low, pays
# as its weights go, and recovers as the cuts become small. In the end both fit the
# training set about equally well.
#
# ## The landscape between them
#
# The *line* between two solutions is the simplest path. If the loss rises on it, the
# two are in different basins as far as that line can tell; the rise is the *barrier*.
# The *plane* adds a direction drawn at random among the weights that either keeps,
# made orthogonal to the line and as long as it, so that both axes have one scale.

# %%
line = analysis.line(pair[G], pair[S])
t = np.linspace(0, 1, 11 if SMALL else 25)
along = analysis.survey(apply_fn, line, t, TRAIN)
bent = analysis.connect(
    loss_fn, pair[G], pair[S], TRAIN, jax.random.key(1), steps=20 if SMALL else 600
)
curved = analysis.survey(apply_fn, bent.path, t, TRAIN)
figure = plots.along_paths(
    {
        "straight line": {"t": t, "loss": along.loss},
        "trained Bezier curve": {"t": t, "loss": curved.loss},
    },
    title="training loss from G to S",
)
display(figure)
plt.show()
print(f"distance between the two: {float(analysis.distance(pair[G], pair[S])):.2f}")
print(f"barrier on the line:      {analysis.barrier(t, along.loss):.4f} nats")
print(f"barrier on the curve:     {analysis.barrier(t, curved.loss):.4f} nats")

# %% [markdown]
# The curve's middle was trained with no mask, so on its way from one sparse network
# to the other it may use weights that neither has. What it shows is the usual finding
# about large networks: what a straight line separates, a bent one may join.

# %%
either = pruning.union(masks[G], masks[S])
direction = analysis.random_direction(jax.random.key(2), pair[G], mask=either)
plane = analysis.plane_along(pair[G], pair[S], direction)
a, b = (
    np.linspace(-0.5, 1.5, 5 if SMALL else 17),
    np.linspace(-1, 1, 5 if SMALL else 17),
)
over = analysis.survey(apply_fn, plane, analysis.grid(a, b), TRAIN)
figure = plane_plots.contour(
    a,
    b,
    np.reshape(over.loss, (len(b), len(a))),
    points={"G": (0.0, 0.0), "S": (1.0, 0.0)},
    title="training loss on a plane through both",
)
display(figure)
plt.show()

# %% [markdown]
# ## The curvature
#
# The Hessian of the training loss has one row for each weight. Most of its
# eigenvalues are near zero, and a few stand out. A stochastic Lanczos run gives the
# whole density from products with the Hessian alone, with a band for its randomness.
#
# For a pruned network there are two questions, and they must not be mixed. *Survivors
# only*: how curved is the loss for the weights that the network has? *All weights*:
# how curved is it if pruned ones may come back? A product with the Hessian that is
# masked on both sides answers the first. In that view the pruned weights are a spike
# at zero whose mass is known beforehand, and which is left out of the figure.


# %%
def curvature(params, mask=None):
    mask = pruning.full_mask(params) if mask is None else mask
    return analysis.operators.hessian(loss_fn, params, TRAIN, mask=mask)


def top(params, mask=None):
    """Return the largest eigenvalue and how far off it may be."""
    steps = 6 if SMALL else 30
    found = analysis.top_eigenpairs(
        curvature(params, mask), 1, key, steps=steps, restarts=0
    )
    return float(found.values[0]), float(found.residuals[0])


key = jax.random.key(3)
drawn = {}
for name in pair:
    found = analysis.spectrum.spectral_density(
        curvature(pair[name], masks[name]), key, steps=6 if SMALL else 40, probes=4
    )
    low, high = analysis.spectrum.extent(found)
    smooth = analysis.spectrum.smoothed(found, bandwidth=(high - low) / 60)
    everything = sum(leaf.size for leaf in jax.tree.leaves(pair[name]))
    kept = sum(int(leaf.sum()) for leaf in jax.tree.leaves(masks[name]))
    drawn[name] = {
        "grid": smooth.grid,
        "density": smooth.density,
        "se": smooth.standard_error,
        "bandwidth": smooth.bandwidth,
        "pruned": 1 - kept / everything,
    }
    for view, mask in (("survivors", masks[name]), ("all weights", None)):
        value, off = top(pair[name], mask)
        print(
            f"{name:13} largest eigenvalue, {view:12} {value:7.3f} (within {off:.0e})"
        )
figure = plots.spectra(drawn, title="spectrum of the Hessian, survivors")
display(figure)
plt.show()

# %% [markdown]
# ## What the neurons say
#
# A neuron is ON when the value that enters its ReLU, its post-synaptic potential, is
# above zero. Within one class, count how often. If it is always ON or always OFF, the
# state tells nothing beyond the class: the entropy is (nearly) 0. If it is ON for half
# of them, the entropy is 1 bit. *PSP-entropy* is that, class by class. No change to
# the network is needed: `preactivations` finds what enters every ReLU.
#
# Where only a few weights are left, many neurons are dead. They count as 0 and can
# drown the rest, so the figure shows the live ones, and the table both.

# %%
potentials = pruning.preactivations(apply_fn)
measured = {
    name: analysis.entropy.measure(potentials, params, [TEST], 10)
    for name, params in pair.items()
}
layers = [name for name in measured[G][0].per_neuron if name != "logits"]
histograms = {
    layer: {
        name: np.histogram(H.per_neuron[layer][H.live[layer]] / 10, 30, (0, 1))[0]
        for name, (H, _) in measured.items()
    }
    for layer in layers
}
figure = plots.entropy_histograms(histograms, title="first order, live neurons")
display(figure)
plt.show()

# %%
for name, (H, squares) in measured.items():
    states, labels = analysis.entropy.states(potentials, pair[name], [TEST])
    for layer in layers:
        live = H.live[layer]
        pairs = analysis.second_order(states[layer], labels, 10, alive=live)
        print(
            f"{name:13} {layer}: {live.sum():3} of {live.size} live; first order "
            f"{H.per_neuron[layer].mean() / 10:.3f} (live "
            f"{H.per_neuron[layer][live].mean() / 10:.3f}), second order "
            f"{pairs.mean / 10:.3f} (live {pairs.live / 10:.3f}) bits per class; "
            f"mean z² {squares[layer]:.2f}"
        )

# %% [markdown]
# The *second order* looks at pairs: are two neurons in the same state or not, and how
# uncertain is that within a class? Low values mean groups that go ON and OFF together
# for a class. Both orders depend strongly on how many neurons are still alive, which
# is why a comparison that pools dead and live ones mostly compares their numbers.
#
# ## Was this pair typical?
#
# The same numbers for every pair. The difference is taken within each pair, because
# both members share their start; the interval is Student's t.

# %%
evaluate = jax.jit(
    lambda p: (
        loss_fn(p, TRAIN),
        jnp.mean(jnp.argmax(apply_fn(p, TEST[0]), -1) != TEST[1]),
    )
)


def numbers(params):
    loss, error = evaluate(params)
    H, squares = analysis.entropy.measure(potentials, params, [TEST], 10)
    everything = np.concatenate([H.per_neuron[layer] for layer in layers]) / 10
    return {
        "test error (%)": 100 * float(error),
        "training loss (nats)": float(loss),
        "log top eigenvalue, survivors": np.log(top(params, mask_of(params))[0]),
        "log top eigenvalue, all weights": np.log(top(params)[0]),
        "log mean z²": np.log(np.mean(list(squares.values()))),
        "first-order entropy (bits)": everything.mean(),
    }


table = {
    name: [numbers(member(ended[name][0], seed)) for seed in range(SEEDS)]
    for name in (G, S)
}
print(f"{SEEDS} pairs{'G':>30} {'S':>9} {'S - G':>9}   95 % interval")
for row in table[G][0]:
    g, s = (np.array([one[row] for one in table[name]]) for name in (G, S))
    mean, low, high = interval((s - g).tolist(), 0.95)
    between = f"{number(low)} to {number(high)}"
    print(f"{row:31}{g.mean():7.3f} {s.mean():9.3f} {mean:9.3f}   {between}")

# %% [markdown]
# In the run shown here G errs less than S at the same sparsity, and its potentials are
# smaller: two things that the paper says. But G is the *flatter* of the two, in both
# views, and S has the higher entropy, in good part because more of its first-layer
# neurons are alive. On 8 x 8 digits, at 50x, with these settings: other data, other
# sizes and other sparsities have to be asked anew, which is what the command is for.
#
# ## What to take away
#
# - "Sharper" needs a view (survivors or all weights), a measure, and an interval. In
#   several of them the answer can differ, and each is one call.
# - A pair that is equally sparse, equally long trained and equally begun is the only
#   fair comparison; `python -m analysis minima` makes such pairs, measures them and
#   judges each of the paper's claims by rules that were fixed before.
# - Sparse networks have dead neurons. Say whether they count.

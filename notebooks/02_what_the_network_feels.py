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
# # What the network feels
#
# Nudge one weight and watch the outputs. If they hardly move, the network does not feel
# that weight. Tartaglione et al. ([arXiv 1810.11764](https://arxiv.org/abs/1810.11764))
# turn this into a number, the **sensitivity**
#
# $$S(y, w) = \sum_{k=1}^{C} \alpha_k \left| \frac{\partial y_k}{\partial w} \right|,
# \qquad \alpha_k \geq 0,$$
#
# a first derivative of the outputs, not of the loss. With $\alpha_k = 1/C$ it is called
# *unspecific*; with $\alpha$ the one-hot label, so that only the output of the true
# class counts, *specific*. Here we look at S on a network small enough to see all of
# it, and ask: what does it show, what does it add to the size of a weight, and what
# does it cost?

# %%
import os
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.stats import spearmanr

import pruning
from synaptax.data.images import load

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
LOOKS, BETWEEN = (3, 10) if SMALL else (40, 25)
SEEDS = 2 if SMALL else 5
REPEATS = 1 if SMALL else 15

plt.rcParams.update({"figure.dpi": 72, "font.size": 11, "axes.grid": True})
plt.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe, Ito

# %% [markdown]
# ## The network
#
# Three layers of weights on scikit-learn's 8 x 8 digits. The pixels are kept between 0
# (no ink) and 1, for a reason that will show soon. Several seeds are trained at once.
# From time to time S is taken on a fixed batch of 200 training digits, the *probe*.

# %%
digits = load("digits")


def flat(batch):
    ink = np.asarray(batch.image) * digits.std[0] + digits.mean[0]
    ink = np.round(16 * ink) / 16  # undo the normalisation exactly
    return jnp.asarray(ink, jnp.float32).reshape(-1, 64), jnp.asarray(batch.label)


(X, Y), TEST = flat(digits.train), flat(digits.test)
PROBE_X, PROBE_Y = X[:200], Y[:200]
LAYERS = ("first", "second", "third")


def init(key):
    keys = jax.random.split(key, 3)
    shapes = ((64, 100), (100, 50), (50, 10))
    return {
        name: {
            "w": jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5,
            "b": jnp.zeros(shape[1]),
        }
        for name, key, shape in zip(LAYERS, keys, shapes, strict=True)
    }


def network(params, x):
    for name in LAYERS[:-1]:
        x = jax.nn.relu(x @ params[name]["w"] + params[name]["b"])
    return x @ params["third"]["w"] + params["third"]["b"]


def loss(params, x, y):
    y_hat = network(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(y_hat, y).mean()


def error(params, examples):
    x, y = examples
    return 100 * jnp.mean(network(params, x).argmax(-1) != y)


def weights(tree):
    """Return the three weight matrices of a tree like the parameters."""
    return {name: tree[name]["w"] for name in LAYERS}


def look(params):
    felt = weights(
        pruning.sensitivity(network, params, PROBE_X, pruning.unspecific(10))
    )
    levels = jnp.asarray([0.5, 0.9])
    return {
        name: {
            "quantiles": jnp.quantile(s, levels),
            "gate": jnp.mean(pruning.insensitivity(s)),
        }
        for name, s in felt.items()
    }


@jax.jit
@jax.vmap
def train(key):
    start, order = jax.random.split(key)
    params = init(start)
    tx = optax.adam(2e-3)

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (100,), 0, len(Y))
        grads = jax.grad(loss)(params, X[rows], Y[rows])
        updates, state = tx.update(grads, state)
        return (optax.apply_updates(params, updates), state), None

    def stretch(carry, keys):
        seen = look(carry[0])
        return jax.lax.scan(step, carry, keys)[0], seen

    keys = jax.random.split(order, (LOOKS, BETWEEN))
    (params, _), seen = jax.lax.scan(stretch, (params, tx.init(params)), keys)
    return params, seen, error(params, TEST)


members, seen, errors = train(jax.random.split(jax.random.key(0), SEEDS))
params = jax.tree.map(lambda leaf: leaf[0], members)  # the first seed, for pictures
print(f"test error of {SEEDS} seeds, %:", np.round(np.asarray(errors), 2).tolist())

# %% [markdown]
# ## Is it what it says?
#
# A check by hand, with no derivative: add 0.001 to one weight of the first layer, and
# see by how much the ten outputs move on average over the probe. S should predict it.


# %%
@jax.jit
def readings(params, x):
    """Return S on the probe, read in four ways."""
    every, own = pruning.unspecific(10), pruning.specific(PROBE_Y, 10)

    def soft(p, z):
        return jax.nn.softmax(network(p, z))

    def felt(apply_fn, alpha, **options):
        return weights(pruning.sensitivity(apply_fn, params, x, alpha, **options))

    return {
        "unspecific": felt(network, every),
        "specific": felt(network, own, support=1),
        "abs of mean": felt(network, every, reduction="abs_mean"),
        "of softmax": felt(soft, every),
    }


S = jax.tree.map(np.asarray, readings(params, PROBE_X))
felt = S["unspecific"]
order = np.argsort(felt["first"], axis=None)
places = {"least felt": order[0], "median": order[order.size // 2]}
places["most felt"] = order[-1]
print("weight        value        S    outputs moved / 0.001")
for name, place in places.items():
    index = np.unravel_index(place, (64, 100))
    nudged = params["first"]["w"].at[index].add(1e-3)
    other = {**params, "first": {**params["first"], "w": nudged}}
    moved = jnp.abs(network(other, PROBE_X) - network(params, PROBE_X)).mean() / 1e-3
    value = params["first"]["w"][index]
    print(f"{name:10} {value:8.3f} {felt['first'][index]:8.4f} {moved:12.4f}")

# %% [markdown]
# ## One example at a time
#
# For one digit, the sensitivities of the first layer, summed over its 100 units, make
# an 8 x 8 image. Below it stands the same sum of $S\,|w|$, the outputs' first-order
# change if the weight were taken away.


# %%
@jax.jit
def alone(params, x):
    return pruning.sensitivity(network, params, x[None], pruning.unspecific(10))


shown = [int(np.flatnonzero(np.asarray(Y) == label)[0]) for label in (0, 1, 3, 4, 7, 8)]
maps = [np.asarray(alone(params, X[i])["first"]["w"]) for i in shown]
size = np.abs(np.asarray(params["first"]["w"]))
rows = {
    "digit": [np.asarray(X[i]) for i in shown],
    "sum of S": [s.sum(axis=1) for s in maps],
    "sum of S |w|": [(s * size).sum(axis=1) for s in maps],
}
figure, axes = plt.subplots(3, len(shown), figsize=(8.6, 4.5), layout="constrained")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    palette = "Greys" if name == "digit" else "cividis"
    for axis, image in zip(line, images, strict=True):
        drawn = axis.imshow(
            image.reshape(8, 8), cmap=palette, vmin=0, vmax=np.max(images)
        )
        axis.grid(False)
        axis.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
    figure.colorbar(drawn, ax=list(line), pad=0.01)
figure.suptitle("First layer, one digit at a time (colour scale shared along a row)")
plt.show()

pairs = zip(rows["digit"], rows["sum of S"], strict=True)
print("correlation of the digit with its sum of S, pixel by pixel:")
print([f"{np.corrcoef(x, s)[0, 1]:.6f}" for x, s in pairs])

# %% [markdown]
# The second row is the first row again, and the correlation is 1. This is no finding
# about the network. In the first layer $\partial y_k / \partial w_{ij} =
# x_i\,\delta_{kj}$, where $\delta_{kj}$ says how output $k$ depends on hidden unit $j$.
# Summed over the units, S is $|x_i|$ times one number for each digit: all that the
# network contributes is that number, the brightness of the tile.
#
# So a picture of S on the first layer must not be taken for an explanation of what the
# network looks for. What S does hold is *which unit* is felt, and how examples add up.
# $S\,|w|$, in the third row, depends on the weights and is no copy of the digit, though
# the ink still dominates it.
#
# This is also why the pixels are kept at 0 where there is no ink. The same network can
# be written for normalised pixels, $(x - m) / s$, with other weights and the same
# outputs. Then a blank pixel is not 0, and its weights are felt. S belongs to a network
# *as it is written down*, scaling of the input included.

# %%
m, s = digits.mean[0], digits.std[0]
first = params["first"]
rewritten = {"w": s * first["w"], "b": first["b"] + m * first["w"].sum(axis=0)}
other = {**params, "first": rewritten}
normal_x = (PROBE_X - m) / s
np.testing.assert_allclose(
    network(other, normal_x), network(params, PROBE_X), rtol=1e-3, atol=1e-3
)
S_normal = jax.tree.map(np.asarray, readings(other, normal_x))

blank = np.asarray((PROBE_X == 0).all(axis=0))
print(f"pixels blank in the whole probe: {blank.sum()} of 64")
for label, one in (("ink from 0 to 1", S), ("normalised", S_normal)):
    one = one["unspecific"]["first"]
    print(f"{label:16} weights of the first layer with S = 0: {(one == 0).mean():5.1%}")
    print(f"{'':16} mean S at blank pixels: {one[blank].mean():.4f}")
    print(f"{'':16} mean S at the others:   {one[~blank].mean():.4f}")

# %% [markdown]
# ## Against the size of a weight
#
# If S merely said "large weights matter", it would add nothing to pruning by magnitude.


# %%
def ranked(first, second):
    """Return Spearman's correlation over the weights that are felt at all."""
    return spearmanr(first.ravel(), second.ravel())[0]


def member(i):
    return jax.tree.map(lambda leaf: leaf[i], members)


each = [jax.tree.map(np.asarray, readings(member(i), PROBE_X)) for i in range(SEEDS)]
sizes = [
    {name: np.abs(np.asarray(members[name]["w"][i])) for name in LAYERS}
    for i in range(SEEDS)
]
figure, axes = plt.subplots(1, 3, figsize=(10, 3.5), sharey=True, layout="constrained")
for axis, name, colour in zip(axes, LAYERS, (BLUE, ORANGE, GREEN), strict=True):
    alive = felt[name] > 0
    thin = max(1, alive.sum() // 600)  # fewer points, to see the cloud
    points = sizes[0][name][alive][::thin], felt[name][alive][::thin]
    axis.plot(*points, ".", ms=4, color=colour)
    axis.set(xscale="log", yscale="log", xlabel="|w|", title=f"{name} layer")
    axis.set_xlim(left=1e-4)
axes[0].set_ylabel("S, unspecific")
plt.show()

print("rank correlation over the felt weights (mean of seeds, lowest to highest)")
comparisons = {
    "S with |w|": lambda i, n: (each[i]["unspecific"][n], sizes[i][n]),
    "specific with unspecific": lambda i, n: (
        each[i]["specific"][n],
        each[i]["unspecific"][n],
    ),
    "abs of mean with mean of abs": lambda i, n: (
        each[i]["abs of mean"][n],
        each[i]["unspecific"][n],
    ),
}
print(f"{'':30}" + "".join(f"{name:>22}" for name in LAYERS))
for label, pair in comparisons.items():
    cells = ""
    for name in LAYERS:
        rho = []
        for i in range(SEEDS):
            alive = each[i]["unspecific"][name] > 0
            rho.append(ranked(*(values[alive] for values in pair(i, name))))
        cells += f"{np.mean(rho):8.2f} ({min(rho):.2f}, {max(rho):.2f})"
    print(f"{label:30}{cells}")

# %% [markdown]
# Inside a layer S and the size of a weight have next to nothing to do with each other:
# S is new information. In the third layer S is the mean activity of a unit, divided by
# ten, whatever the weight and the class. The specific sensitivity ranks the weights of
# the first two layers as the unspecific one does. In the third it does not, because
# there each class has weights of its own.

# %% [markdown]
# ## While it trains
#
# The paper uses S as a gate: each step multiplies a weight by $1 - \lambda \max(0, 1 -
# S)$. A gate of 1 lets the whole decay through, a gate of 0 holds it back. What matters
# is therefore where S lies relative to 1.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
steps = BETWEEN * np.arange(LOOKS)
looks = (("-", BLUE), ("--", ORANGE), (":", GREEN))
for name, (line, colour) in zip(LAYERS, looks, strict=True):
    middle, high = np.moveaxis(np.asarray(seen[name]["quantiles"])[0], -1, 0)
    left.plot(steps, middle, line, color=colour, lw=2.5, label=f"{name} layer")
    left.plot(steps, high, line, color=colour, lw=1)
    gate = np.asarray(seen[name]["gate"])
    right.plot(steps, gate[0], line, color=colour, lw=2, label=f"{name} layer")
left.axhline(1, color=GREY, lw=1)
left.text(0, 0.95, "from S = 1 on there is no decay", color=GREY, va="top", size=10)
left.set(xlabel="step", ylabel="S (thick: median; thin: 90 %)", ylim=(0, 1.02))
left.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
right.set(xlabel="step", ylabel="mean gate, max(0, 1 − S)", ylim=(0, 1.02))
right.legend()
figure.suptitle("Unspecific sensitivity on the probe during training, first seed")
plt.show()

# %% [markdown]
# ## Two choices that change the gate
#
# **Where the mean is taken.** One may average $|\partial y_k/\partial w|$ over the
# batch (`mean_abs`, the default) or take the absolute value of the average
# (`abs_mean`). The second lets examples cancel. It is cheap by ordinary
# back-propagation and never larger.
#
# In the second and third layer nothing can cancel here: what enters them has passed a
# ReLU and is never negative, and no ReLU but the unit's own stands between the weight
# and the outputs, so each derivative keeps its sign over all examples. In the first
# layer it depends on the sign of the pixels, once more a matter of how they are scaled.
#
# **What y is.** With the logits, S is some tenths. With the softmax of a network that
# is sure of its answers, the outputs hardly move whatever one does.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
bins = np.linspace(0, 1, 26).tolist()
print("abs of mean / mean of abs   median   lowest")
kinds = (("ink from 0 to 1", S, "-", BLUE), ("normalised", S_normal, "--", ORANGE))
for label, one, line, colour in kinds:
    for name in LAYERS:
        alive = one["unspecific"][name] > 0
        ratio = one["abs of mean"][name][alive] / one["unspecific"][name][alive]
        print(f"{label:17} {name:8} {np.median(ratio):8.3f} {ratio.min():8.3f}")
        if name == "first":
            share = np.full(ratio.size, 100 / ratio.size)
            style = dict(histtype="step", color=colour, ls=line, lw=2, label=label)
            left.hist(np.minimum(ratio, 1), bins, weights=share, **style)
left.set(xlabel="abs of mean / mean of abs", ylabel="weights (%)", title="first layer")
left.legend(loc="upper left")
every = np.concatenate([felt[name].ravel() for name in LAYERS])
kinds = (
    ("logits, mean of abs", "unspecific", "-", BLUE),
    ("logits, abs of mean", "abs of mean", "--", ORANGE),
    ("softmax, mean of abs", "of softmax", ":", GREEN),
)
print("y and mean               mean gate   gate > 0.9")
for label, key, line, colour in kinds:
    values = np.concatenate([S[key][name].ravel() for name in LAYERS])
    gate = np.asarray(pruning.insensitivity(values))
    share = np.full(gate.size, 100 / gate.size)
    style = dict(histtype="step", color=colour, ls=line, lw=2, label=label)
    right.hist(gate, bins, weights=share, **style)
    print(f"{label:24} {gate.mean():9.3f} {100 * (gate > 0.9).mean():10.1f} %")
right.set(xlabel="gate, max(0, 1 − S)", ylabel="weights (%, log scale)")
right.set(yscale="log", title="all layers, ink from 0 to 1")
right.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Does it say which weights can go?
#
# Take weights away from the trained network, lowest score first over all layers, and
# train no further. The scores: the size $|w|$; S; their product; and chance.

# %%
DENSITIES = (0.5, 0.1) if SMALL else (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1)


@jax.jit
@jax.vmap
def scores_of(key, params):
    felt = pruning.sensitivity(network, params, PROBE_X, pruning.unspecific(10))
    size = jax.tree.map(jnp.abs, params)
    product = jax.tree.map(jnp.multiply, size, felt)
    lot = jax.tree.map(lambda leaf: jax.random.uniform(key, leaf.shape), params)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), size, felt, product, lot)


@jax.jit
def error_left(params, scores, density):
    mask = pruning.select(scores, density)
    return error(pruning.apply_mask(params, mask), TEST)


over_scores = jax.vmap(error_left, in_axes=(None, 0, None))
over_densities = jax.vmap(over_scores, in_axes=(None, None, 0))
over_seeds = jax.jit(jax.vmap(over_densities, in_axes=(0, 0, None)))
scores = scores_of(jax.random.split(jax.random.key(1), SEEDS), members)
left_error = np.asarray(over_seeds(members, scores, jnp.asarray(DENSITIES)))

figure, axis = plt.subplots(figsize=(6.4, 3.9), layout="constrained")
names = (
    ("|w|", ORANGE, "^", "--"),
    ("S", GREEN, "s", "-."),
    ("S |w|", BLUE, "o", "-"),
    ("chance", GREY, "x", ":"),
)
print("density  " + "".join(f"{name[0]:>16}" for name in names))
mean = left_error.mean(axis=0)
spread = left_error.std(axis=0, ddof=1) / np.sqrt(SEEDS)
for density, *row in zip(DENSITIES, mean, spread, strict=True):
    cells = [f"{m:9.1f} ± {s:4.1f}" for m, s in zip(*row, strict=True)]
    print(f"{density:7.2f}  " + "".join(cells))
for i, (name, colour, marker, line) in enumerate(names):
    axis.errorbar(
        DENSITIES,
        mean[:, i],
        spread[:, i],
        color=colour,
        marker=marker,
        ls=line,
        capsize=2,
        label=name,
    )
axis.set(xscale="log", xlabel="density (log scale; sparser to the right)")
axis.set_xticks(DENSITIES, [f"{density:g}" for density in DENSITIES])
axis.minorticks_off()
axis.invert_xaxis()
axis.set(ylabel="test error (%)", title=f"no retraining; {SEEDS} seeds, standard error")
axis.legend(title="score")
plt.show()

# %% [markdown]
# ## The price
#
# By its definition S needs the derivative of every output by every weight for every
# example: B x C x P numbers, from `vmap(jacrev)`. The package gets the same values from
# one matrix product for each layer: for $x_i\,\delta_{kj}$ the absolute value of the
# product is the product of the absolute values. First that they agree, then the times,
# taken in turns; the best of several rounds counts. They hold for this small network on
# the machine that ran this notebook, and for no other.

# %%
x, y = X[:100], Y[:100]
alpha = pruning.unspecific(10)


def way(**options):
    return jax.jit(lambda p: pruning.sensitivity(network, p, x, alpha, **options))


ways = {
    "gradient of the loss": jax.jit(lambda p: jax.grad(loss)(p, x, y)),
    "S by taps": way(method="taps"),
    "abs of mean, 10 passes": way(reduction="abs_mean"),
    "S by vmap(jacrev)": way(method="reference"),
}
results = {name: jax.block_until_ready(run(params)) for name, run in ways.items()}
taps, slow = weights(results["S by taps"]), weights(results["S by vmap(jacrev)"])
worst = max(float(jnp.max(jnp.abs(taps[n] - slow[n])) / jnp.max(slow[n])) for n in slow)
assert worst < 1e-5
print(f"largest difference between the two ways: {worst:.0e} of the largest S")

best = dict.fromkeys(ways, float("inf"))
for _ in range(REPEATS):
    for name, run in ways.items():
        start = time.perf_counter()
        jax.block_until_ready(run(params))
        best[name] = min(best[name], time.perf_counter() - start)
unit = best["gradient of the loss"]
for name, seconds in best.items():
    print(f"{name:24} {1e3 * seconds:8.2f} ms {seconds / unit:7.1f} gradients")
ratio = best["S by vmap(jacrev)"] / best["S by taps"]
print(f"here vmap(jacrev) takes {ratio:.0f} times as long as taps")

# %% [markdown]
# ## What was learnt
#
# - S is what it says: nudge a weight, and the outputs move by S times the nudge.
# - It is cheap enough to take at every step. On a network this small the definition is
#   affordable too, if not at every step; its cost grows with examples x outputs x
#   weights. (The committed times were taken on two shared CPU cores.)
# - It is not the size of a weight in disguise. Inside a layer the two are unrelated.
#
# And what is unimpressive:
#
# - Maps of S over the pixels look like explanations and are copies of the input.
# - S changes with the scaling of the inputs, although the function computed does not.
# - As a score for taking weights away, S alone is poor: a weight may be strongly felt
#   and so small that nothing is lost with it. $S\,|w|$ mends that, and then does about
#   as well as $|w|$ alone. (The paper does not use S as a score. It gates a decay with
#   it.)
# - Specific or unspecific: below the last layer the ranking of the weights is nearly
#   the same. So it is for mean of abs and abs of mean, as long as the pixels are never
#   negative. With normalised pixels they differ in the first layer.
# - S stays below 1 throughout, so that the gate never closes: on average it takes about
#   a tenth off the decay. With the softmax as y it takes off nothing. It is no surprise
#   that sensitivity decay and plain decay came out alike in the first notebook. Where S
#   is larger relative to 1, in larger networks or later in training, they may not.

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
# # Bring your own network, data, score and schedule
#
# synaptax knows of a network one thing only: it is a function
# `apply_fn(params, x) -> y` whose first axis is the batch. Parameters may be any tree
# of arrays. This notebook takes the same small classifier from three frameworks, prunes
# each in the way that framework trains, and then replaces what decides: the score that
# says which weights go, and the schedule that says when.

# %%
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

import pruning

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
STEPS = 60 if SMALL else 600
SEEDS = 2 if SMALL else 8

plt.rcParams.update({"figure.dpi": 72, "font.size": 11, "axes.grid": True})
plt.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe, Ito

# %% [markdown]
# ## Data of one's own
#
# Two numbers an example: three spiral arms with noise. Any arrays do; a loader is only
# needed for the commands (`--dataset module:function`).


# %%
def spirals(seed, count):
    """Return points (count, 2) and the arm (count,) each lies on."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 3, count)
    along = rng.uniform(0.15, 1, count)
    angle = 2 * np.pi * (arm / 3 + 0.75 * along) + 0.12 * rng.normal(size=count)
    points = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return jnp.asarray(points, jnp.float32), jnp.asarray(arm, jnp.int32)


TRAIN, TEST = spirals(0, 600), spirals(1, 1000)


def cross_entropy(y, label):
    return optax.softmax_cross_entropy_with_integer_labels(y, label).mean()


def error(apply_fn, params):
    """Return the share of wrong answers on the test set in per cent."""
    x, label = TEST
    return float(100 * jnp.mean(apply_fn(params, x).argmax(-1) != label))


figure, axis = plt.subplots(figsize=(4, 3.8), layout="constrained")
for arm, colour in enumerate((BLUE, ORANGE, GREEN)):
    points = np.asarray(TRAIN[0])[np.asarray(TRAIN[1]) == arm]
    axis.plot(*points.T, ".", color=colour, ms=4, label=f"class {arm}")
axis.set(xlabel="$x_0$", ylabel="$x_1$", title=f"{len(TRAIN[1])} training points")
axis.legend(loc="lower right", fontsize=9)
plt.show()

# %% [markdown]
# ## Flax Linen and a TrainState
#
# `TrainState.apply_gradients` does not hand extra arguments on, and a penalty on
# pre-activations needs the batch. A subclass of a few lines mends it.


# %%
class State(TrainState):
    def apply_gradients(self, *, grads, **extra):
        updates, opt_state = self.tx.update(grads, self.opt_state, self.params, **extra)
        params = optax.apply_updates(self.params, updates)
        return self.replace(step=self.step + 1, params=params, opt_state=opt_state)


model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(64), nn.relu, nn.Dense(3)])
linen_fn = lambda params, x: model.apply({"params": params}, x)
schedule = pruning.polynomial(STEPS // 4, 3 * STEPS // 4, density=0.1)


def chain(apply_fn):
    return optax.chain(
        pruning.psp_regularization(apply_fn, 1e-4),
        optax.adam(5e-3),
        pruning.prune(schedule),
    )


state = State.create(
    apply_fn=linen_fn,
    params=model.init(jax.random.key(0), TRAIN[0])["params"],
    tx=chain(linen_fn),
)


@jax.jit
def linen_step(state):
    x, label = TRAIN
    grads = jax.grad(lambda p: cross_entropy(linen_fn(p, x), label))(state.params)
    return state.apply_gradients(grads=grads, batch=x)


for _ in range(STEPS):
    state = linen_step(state)
print(pruning.to_text(pruning.report(state.params, pruning.masks_of(state.opt_state))))
results = {"Flax Linen": (linen_fn, state.params)}

# %% [markdown]
# ## Flax NNX
#
# `nnx.split` makes the function and its parameters of a module; `nnx.Optimizer` takes
# the same chain and hands the batch on by itself.


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(2, 64, rngs=rngs)
        self.second = nnx.Linear(64, 64, rngs=rngs)
        self.last = nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.second(nnx.relu(self.first(x)))))


net = Net(nnx.Rngs(0))
graph, params, rest = nnx.split(net, nnx.Param, ...)
nnx_fn = lambda params, x: nnx.merge(graph, params, rest)(x)
optimizer = nnx.Optimizer(net, chain(nnx_fn), wrt=nnx.Param)


@nnx.jit
def nnx_step(net, optimizer):
    x, label = TRAIN
    grads = nnx.grad(lambda net: cross_entropy(net(x), label))(net)
    optimizer.update(net, grads, batch=x)


for _ in range(STEPS):
    nnx_step(net, optimizer)
results["Flax NNX"] = (nnx_fn, nnx.state(net, nnx.Param))

# %% [markdown]
# ## Equinox
#
# `eqx.partition` divides a module into arrays and the rest. From there the loop is that
# of any function; here as one scan.

# %%
mlp = eqx.nn.MLP(2, 3, width_size=64, depth=2, key=jax.random.key(0))
arrays, static = eqx.partition(mlp, eqx.is_inexact_array)
eqx_fn = lambda params, x: jax.vmap(eqx.combine(params, static))(x)


def fit(apply_fn, params, tx):
    """Return the parameters and the optimizer's state after training."""

    def step(carry, _):
        params, state = carry
        x, label = TRAIN
        grads = jax.grad(lambda p: cross_entropy(apply_fn(p, x), label))(params)
        updates, state = tx.update(grads, state, params, batch=x)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), None, STEPS)[0]


params, state = jax.jit(lambda params: fit(eqx_fn, params, chain(eqx_fn)))(arrays)
results["Equinox"] = (eqx_fn, params)

# %% [markdown]
# Three frameworks, one chain, and in each a tenth of the kernels' weights is left,
# counted here from the zeros themselves.

# %%
grid = np.linspace(-1.1, 1.1, 60 if SMALL else 150)
across = jnp.asarray(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), jnp.float32)
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.7), layout="constrained")
colours = plt.matplotlib.colors.ListedColormap([BLUE, ORANGE, GREEN])
for axis, (name, (apply_fn, params)) in zip(axes, results.items(), strict=True):
    counts = pruning.count(pruning.masks_from_zeros(params))
    wrong = error(apply_fn, params)
    print(f"{name:10} kept {counts.kept} of {counts.total}, test error {wrong:.1f} %")
    answer = np.asarray(apply_fn(params, across).argmax(-1)).reshape(len(grid), -1)
    axis.pcolormesh(grid, grid, answer, cmap=colours, alpha=0.35, vmin=0, vmax=2)
    axis.scatter(
        *np.asarray(TEST[0])[:300].T, c=np.asarray(TEST[1])[:300], s=5, cmap=colours
    )
    axis.grid(False)
    axis.set(xlabel="$x_0$", title=f"{name}: {wrong:.1f} % wrong")
axes[0].set(ylabel="$x_1$")
figure.suptitle("What each pruned network answers, and 300 test points")
plt.show()

# %% [markdown]
# ## A score of one's own
#
# A score is a function that returns a tree like the parameters: the higher, the better
# kept. Arguments named `grads`, `sensitivity` or `key` are handed over. Here magnitude
# competes with two of our own: the magnitude over its layer's mean, so that layers of
# any scale compete alike, and pruning by lot, which every score should beat.


# %%
def relative(params):
    return jax.tree.map(lambda w: jnp.abs(w) / (jnp.abs(w).mean() + 1e-12), params)


def by_lot(params):
    key = jax.random.key(7)
    draw = lambda w: jax.random.uniform(jax.random.fold_in(key, w.size), w.shape)
    return jax.tree.map(draw, params)


DENSITIES = (0.3, 0.05) if SMALL else (0.3, 0.1, 0.03)
STYLE = {
    "magnitude": ("magnitude", BLUE, "o"),
    "relative magnitude": (relative, ORANGE, "^"),
    "by lot": (by_lot, GREY, "s"),
}


def one(key, score, density):
    """Return the test error of a network pruned by a score in a few steps."""
    params = model.init(key, TRAIN[0])["params"]
    when = pruning.polynomial(STEPS // 4, 3 * STEPS // 4, density, every=10)
    tx = optax.chain(optax.adam(5e-3), pruning.prune(when, score=score))
    params, _ = fit(linen_fn, params, tx)
    x, label = TEST
    return 100 * jnp.mean(linen_fn(params, x).argmax(-1) != label)


def errors(score):
    """Return the errors (densities, seeds), from one program: a density is an array."""
    keys = jax.random.split(jax.random.key(1), SEEDS)
    of_seeds = jax.vmap(lambda key, density: one(key, score, density), (0, None))
    return jax.jit(jax.vmap(of_seeds, (None, 0)))(keys, jnp.asarray(DENSITIES))


figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
for name, (score, colour, marker) in STYLE.items():
    wrong = np.asarray(errors(score))
    mean, spread = wrong.mean(1), wrong.std(1, ddof=1) / np.sqrt(SEEDS)
    axis.errorbar(
        DENSITIES, mean, spread, marker=marker, color=colour, label=name, capsize=2
    )
    cells = (f"{m:.1f} ± {s:.1f}" for m, s in zip(mean, spread, strict=True))
    print(f"{name:18}", "  ".join(cells))
axis.set(xscale="log", xlabel="density (log scale; sparser to the right)")
axis.set(ylabel="test error (%)", title=f"mean and standard error, {SEEDS} seeds")
axis.set_xticks(DENSITIES, [f"{d:g}" for d in DENSITIES])
axis.minorticks_off()
axis.set_xlim(1.2 * max(DENSITIES), 0.85 * min(DENSITIES))
axis.legend()
plt.show()

# %% [markdown]
# Magnitude wins here, over the score that was to make it fairer as well. A score is as
# good as it is in such a comparison, over seeds, and not as it sounds.
#
# ## A schedule of one's own
#
# With `manual()` the masks change when `with_masks` says so, and hold in between. So
# any rule can decide: this one halves what is left whenever the training loss is low
# enough to afford it, until a twentieth is left.

# %%
WELL = 0.05  # nats
tx = optax.chain(optax.adam(5e-3), pruning.prune(pruning.manual()))
params = model.init(jax.random.key(2), TRAIN[0])["params"]
state, trace = tx.init(params), []


@jax.jit
def some_steps(params, state):
    def step(carry, _):
        params, state = carry
        loss = lambda p: cross_entropy(linen_fn(p, TRAIN[0]), TRAIN[1])
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, state), values = jax.lax.scan(step, (params, state), None, 20)
    return params, state, values[-1]


for _ in range(12 if SMALL else 60):
    params, state, value = some_steps(params, state)
    density = float(pruning.density(pruning.masks_of(state)))
    trace.append((float(value), density))
    if value < WELL and density > 0.05:
        masks = pruning.magnitude_mask(params, density / 2)
        state = pruning.with_masks(state, masks)
print(f"density {density:.3f}, test error {error(linen_fn, params):.1f} %")

loss, density = np.asarray(trace).T
steps = 20 * np.arange(1, len(loss) + 1)
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.plot(steps, loss, color=BLUE, label="training loss")
axis.plot(steps, density, color=ORANGE, ls="--", label="density")
axis.set(xlabel="step", yscale="log", ylabel="loss (nats), density (log scale)")
axis.set_title("A rule of one's own: halve whenever the loss is below 0.05")
axis.legend()
plt.show()

# %% [markdown]
# ## What to take along
#
# - The chain is the same in all three frameworks. What differs is how a module becomes
#   a function, and who hands the batch on.
# - A score is one function, a schedule is one call of `with_masks`.
# - Zeros are exact throughout: counts above are counts of zeros, not of masks.
#
# What stands around `prune` safely, and what does not, is in `docs/wrappers.md`.

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
# # The binary perceptron, theory under the experiment
#
# A perceptron whose weights are only +1 or −1 must classify M random patterns of N
# inputs. How many weight vectors do it, can gradient ascent find one, and does the
# mathematics of infinite systems say anything about N = 301?
#
# Gradient ascent cannot move a sign. It can move the *probabilities* of signs: each
# weight is drawn +1 with probability (1 + m)/2, and one climbs the log-likelihood
#
# $$\mathcal L(m)=\sum_\mu \log\Phi(\Delta_\mu),\qquad
# \Delta_\mu = \frac{y_\mu\, m\cdot x_\mu}{\sqrt{\sum_i (1-m_i^2)}}$$
#
# of Baldassi et al. ([arXiv 1710.09825](https://arxiv.org/abs/1710.09825)). Two
# numbers describe where one is:
#
# - the **load** α = M/N;
# - **q\*** = mean of m². At q\* = 0 all weight vectors are equally likely; at q\* = 1
#   one is left.
#
# Replica theory answers for N → ∞. Every figure below puts its curve under points that
# are measured here.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import binary
from binary import network, theory
from binary.exact import count_solutions
from binary.overlay.ascent import ascend

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
SIZE = 101 if SMALL else 301

plt.rcParams.update({"figure.dpi": 72, "font.size": 11, "axes.grid": True})
plt.rcParams.update({"grid.alpha": 0.3, "axes.spines.top": False})
plt.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"  # Okabe, Ito


def stacked(seed, size, load, count):
    keys = jax.random.split(jax.random.key(seed), count)
    return binary.stack([binary.storage(key, size, load) for key in keys])


# %% [markdown]
# ## How many solutions?
#
# For tiny N one can try all 2^N weight vectors. Theory gives the logarithm of the
# typical number per weight, which falls with the load and reaches zero at the
# capacity. For N = 15 the mean of log n over instances that have a solution is
# compared with it. Two effects of a small N are visible: instances without a solution
# are left out, so the points must bend upwards near the capacity, and the sum over 15
# weights is far from a Gaussian.

# %%
COUNTS = (3, 6, 9, 12)
DRAWS = 15 if SMALL else 40
points = []
for count in COUNTS:
    keys = jax.random.split(jax.random.key(count), DRAWS)
    found = [count_solutions(binary.storage(key, 15, count / 15)) for key in keys]
    found = np.array(found)
    logs = np.log(found[found > 0]) / 15
    points.append((count / 15, logs.mean(), logs.std() / len(logs) ** 0.5))
    print(
        f"N = 15, M = {count:2d}: mean number of solutions {found.mean():7.1f} "
        f"± {found.std() / DRAWS**0.5:.1f}, exactly 2^(N-M) = {2 ** (15 - count)} "
        f"expected; solvable {np.mean(found > 0):.0%}"
    )
points = np.array(points)
end = theory.capacity()
loads = np.linspace(0.02, end.alpha, 40)
entropy = [theory.gardner(float(a)).entropy for a in loads]

fig, ax = plt.subplots(figsize=(6.5, 4))
ax.plot(loads, entropy, color=BLUE, label="theory, N → ∞")
ax.plot(loads, np.log(2) * (1 - loads), ":", color=GREY, label="log of the mean number")
ax.errorbar(*points.T, fmt="o", color=ORANGE, capsize=3, label="all 2^15 tried")
ax.axvline(end.alpha, color=GREY, lw=1)
ax.annotate(f"capacity {end.alpha:.4f}", (end.alpha - 0.01, 0.5), ha="right")
ax.set_xlabel("load M/N")
ax.set_ylabel("log number of solutions / N (nats)")
ax.legend()
plt.show()

# %% [markdown]
# The mean number is 2^(N−M) exactly, but a few lucky instances make it: the typical
# number, whose logarithm theory computes, is below. The capacity 0.8331 is where the
# blue curve ends, not 1 where the dotted one would.
#
# ## Finding one
#
# Now N is too large to try anything. One run of free ascent, at a load of 0.5: nothing
# imposes q\*, and yet it rises by itself as the patterns are satisfied.

# %%
one = binary.storage(jax.random.key(1), SIZE, 0.5)
run = binary.solve(binary.free(), one, jax.random.key(2), epochs=300, trace=True)
wrong, rising = map(np.asarray, run.trace or ())
done = int(run.epochs)
verdict = binary.verify(run.weights, one)
print(
    f"N = {SIZE}, M = {verdict.patterns}: solved is {verdict.solved} after {done} "
    f"epochs; {verdict.errors} errors of sign(m), counted in integers; "
    f"q* at the end {float(run.overlap):.3f}"
)
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.6))
axes[0].plot(100 * wrong[: done + 1] / verdict.patterns, color=ORANGE)
axes[0].set_ylabel("patterns wrong (%)")
axes[1].plot(rising[: done + 1], "--", color=BLUE)
axes[1].set_ylabel("q*")
axes[1].set_ylim(0, 1)
for ax in axes:
    ax.set_xlabel("epoch")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## With an optimizer of one's own
#
# A step is a gradient and a projection, so any optax optimizer can climb: put
# `binary.project_magnetisations`, which keeps m in [−1, 1], last in the chain. After
# `optax.scale` it is the solver above, step by step (a test holds that to rounding).
# Here it stands after Adam.

# %%
tx = optax.chain(optax.adam(0.05), binary.project_magnetisations())


@jax.jit
def climb(m, state):
    slope = -binary.gradient(m, one)  # Adam descends
    updates, state = tx.update(slope, state, m)
    m = optax.apply_updates(m, updates)
    return m, state, binary.errors(binary.mode(m), one), binary.self_overlap(m)


m = jax.random.normal(jax.random.key(7), (SIZE,)) / SIZE**0.5
state, course = tx.init(m), []
for _ in range(100):
    m, state, errors, overlap = climb(m, state)
    course.append((int(errors), float(overlap)))
course = np.array(course)
verdict = binary.verify(binary.mode(m), one)
print(
    f"Adam and the projection: {verdict.errors} errors of {verdict.patterns} after "
    f"{len(course)} epochs, none since epoch {np.flatnonzero(course[:, 0]).max() + 2}; "
    f"q* {course[-1, 1]:.3f}"
)

# %% [markdown]
# A deep network is trained alike: its hidden signs have means again, and a gradient
# flows through mean and variance. Its biases are real and stay outside the projection,
# hence `optax.masked`. What is tested is the network of the most probable weights, a
# bit each.

# %%
images, digits = load_digits(return_X_y=True)
images, held = images.astype(np.uint8), slice(0, 400)
layers = network.Dense(64), network.Dense(10)
params = network.init(jax.random.key(8), layers, (64,))
x, y = jnp.asarray(images[400:] / 16 - 0.3, jnp.float32), jnp.asarray(digits[400:])
tx = optax.chain(
    optax.adam(0.02),
    optax.masked(binary.project_magnetisations(), network.magnetisations(params)),
)


@jax.jit
def learn(params, state):
    def loss(params):
        logits = network.logits(network.propagate(layers, params, x), 64)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    updates, state = tx.update(jax.grad(loss)(params), state, params)
    return optax.apply_updates(params, updates), state


state, course = tx.init(params), []
for step in range(50 if SMALL else 400):
    params, state = learn(params, state)
    if step % 10 == 9:
        packed = network.pack(layers, params, scale=1 / 16, shift=-0.3)
        missed = np.mean(network.predict(packed, images[held]) != digits[held])
        overlaps = [float(q) for q in network.self_overlaps(params).values()]
        course.append((step + 1, 100 * missed, *overlaps))
course = np.array(course)
print(
    f"8 x 8 digits, {len(y)} to learn from: the network of bits misses "
    f"{course[-1, 1]:.1f} % of 400 others; q* {course[-1, 2]:.2f} and "
    f"{course[-1, 3]:.2f} in its two layers"
)
fig, axes = plt.subplots(1, 2, figsize=(10.5, 3.6))
axes[0].plot(course[:, 0], course[:, 1], color=ORANGE)
axes[0].set_ylabel("digits missed by bits (%)")
axes[1].plot(course[:, 0], course[:, 2], "-", color=BLUE, label="first layer")
axes[1].plot(course[:, 0], course[:, 3], "--", color=GREEN, label="second layer")
axes[1].set_ylabel("q*")
axes[1].set_ylim(0, 1)
axes[1].legend()
for ax in axes:
    ax.set_xlabel("step")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## The landscape at each q\*
#
# Hold q\* fixed instead, and climb until nothing moves. How good is the distribution
# (the loss per pattern), and how good its most likely weight vector sign(m)? Theory
# treats magnetisations drawn with weight $e^{\beta\mathcal L}$; ascent is the limit
# β → ∞. So the points belong on the *cold* curve. Where the replicon (the eigenvalue
# of de Almeida and Thouless) exceeds 1, the replica-symmetric curve is no prediction,
# and it is left out.

# %%
LEVELS = np.array([0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9])
INSTANCES, STEPS = (2, 60) if SMALL else (6, 400)
climbed = ascend(
    jax.random.split(jax.random.key(4), INSTANCES),
    stacked(5, SIZE, 0.55, INSTANCES),
    jnp.asarray(LEVELS, jnp.float32),
    STEPS,
    1e-5,
)
climbed = jax.tree.map(np.asarray, climbed)
cold = [theory.stochastic(0.55, float(q), 1000.0) for q in LEVELS]
warm = [theory.stochastic(0.55, float(q), 20.0) for q in LEVELS]
for q, state, loss in zip(LEVELS, cold, climbed.loss.mean(axis=0), strict=True):
    print(
        f"q* {q:.2f}: loss {loss:.4f} ascent, {state.loss:.4f} theory at β = 1000; "
        f"replicon {state.replicon:.2f}{'' if state.replicon < 1 else ', unstable'}"
    )

fig, axes = plt.subplots(1, 2, figsize=(10.5, 4))
labels = ("loss per pattern (nats)", "training error of sign(m)")
for ax, name, label in zip(axes, ("loss", "energy_mode"), labels, strict=True):
    for states, colour, beta in ((warm, GREEN, 20), (cold, BLUE, 1000)):
        stable = [p for p in states if p.replicon < 1]
        values = [getattr(p, name) for p in stable]
        where = [p.q_star for p in stable]
        ax.plot(where, values, color=colour, label=f"theory, β = {beta}")
    measured = getattr(climbed, name)
    error = measured.std(axis=0) / INSTANCES**0.5
    ax.errorbar(
        LEVELS,
        measured.mean(axis=0),
        error,
        fmt="o",
        color=ORANGE,
        capsize=3,
        label=f"ascent, N = {SIZE}",
    )
    ax.set_xlabel("q*")
    ax.set_ylabel(label)
axes[1].set_yscale("log")
axes[1].set_ylim(1e-4, 0.3)
axes[0].legend()
plt.tight_layout()
plt.show()

# %% [markdown]
# The error of sign(m) vanishes as q\* approaches 1, although nothing was ever asked of
# sign(m). Above q\* ≈ 0.8 the cold state is unstable: ascent stops in one of many
# maxima, and theory with one state has nothing to say there. At finite β it has: the
# green curve is stable throughout.
#
# ## With a teacher
#
# If the labels come from binary weights themselves, more patterns help: past some load
# the teacher is the only solution left. Theory: a random solution overlaps with the
# teacher by R; at the first-order point its entropy falls below that of the teacher
# alone; but the state R < 1 survives up to the spinodal, and traps what moves locally.

# %%
COUNT, EPOCHS = (2, 100) if SMALL else (6, 500)
LOADS = np.array([1.0, 1.3, 1.45, 1.6, 1.8])
keys = jax.random.split(jax.random.key(6), len(LOADS) * COUNT)
taught = binary.stack(
    [
        binary.teacher_student(key, SIZE, float(load))
        for key, load in zip(keys, np.repeat(LOADS, COUNT), strict=True)
    ]
)
learned = binary.solve(binary.free(rate=0.1), taught, keys, epochs=EPOCHS)
overlap = np.mean(np.asarray(learned.weights) * np.asarray(taught.teacher), axis=1)
overlap = overlap.reshape(len(LOADS), COUNT)
turn, end = theory.first_order_point(), theory.spinodal()
loads = np.linspace(0.6, end.alpha, 50)
students = [theory.teacher_student(float(a)) for a in loads]
for load, row in zip(LOADS, overlap, strict=True):
    print(f"load {load:.2f}: teacher found {np.sum(row == 1)} of {COUNT}")
print(f"first-order point {turn.alpha:.5f}, spinodal {end.alpha:.4f}")

fig, ax = plt.subplots(figsize=(6.5, 4))
ax.plot(
    loads, [p.overlap for p in students], color=BLUE, label="random solution, theory"
)
ax.plot(np.repeat(LOADS, COUNT), overlap.ravel(), "o", color=ORANGE, mfc="none")
ax.plot(LOADS, overlap.mean(axis=1), "_", color=ORANGE, ms=18, label="free ascent")
for where, text in ((turn.alpha, "first order"), (end.alpha, "spinodal")):
    ax.axvline(where, color=GREY, lw=1, ls=":")
    ax.annotate(text, (where - 0.01, 0.0), rotation=90, ha="right", color=GREY)
ax.set_xlabel("load M/N")
ax.set_ylabel("overlap with the teacher")
ax.set_ylim(-0.1, 1.04)
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# Below the spinodal ascent does not find the teacher; its weights overlap with it
# about as much as a random solution does, or a little more, because ascent prefers the
# middle of a dense region. Well above, it finds the teacher exactly. Just above, at
# this size, it still misses it at times: the trap is gone only in the limit. Dense
# regions are what `06_dense_regions` is about.

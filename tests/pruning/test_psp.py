import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import pruning
from pruning import preactivations, psp_penalty, psp_regularization, with_psp
from pruning.psp import NORMALIZATIONS
from synaptax.data.images import Batch
from synaptax.nets import models
from tests.pruning.networks import draw

WEIGHT = 0.3


# --- the penalty -----------------------------------------------------------------


def test_the_four_normalisations_by_hand():
    a, b = np.arange(6.0).reshape(3, 2), np.ones((3, 2, 2, 1)) * 2
    zs = {"a": jnp.asarray(a, jnp.float32), "b": jnp.asarray(b, jnp.float32)}
    wanted = {
        "layer-mean": (55 / 6 + 4) / 2,
        "paper-half-sum": (55 + 48) / 3 / 2,
        "sum": (55 + 48) / 2,
        "batch-mean": (2**2 + 3**2) / 2 + 4,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(psp_penalty(zs, normalization=name), value, 1e-6)
    np.testing.assert_allclose(psp_penalty(list(zs.values())), (55 / 6 + 4) / 2, 1e-6)
    found = pruning.mean_squares(zs)
    np.testing.assert_allclose([found["a"], found["b"]], [55 / 6, 4], 1e-6)


def test_a_mean_over_the_batch_keeps_the_imaginary_part():
    z = jnp.array([[1 + 2j], [3 - 1j]], jnp.complex64)  # mean 2 + 0.5j
    squares = psp_penalty([z], normalization="batch-mean")
    np.testing.assert_allclose(squares, 2**2 + 0.5**2, 1e-6)


def test_half_precision_is_summed_in_single():
    z = jnp.full((4, 1000), 3.0, jnp.bfloat16)
    found = psp_penalty([z, jnp.ones((2, 2))])
    assert found.dtype == jnp.float32
    assert float(found) == 5.0


@pytest.mark.parametrize(
    ("zs", "options", "text"),
    [
        ({}, {}, "at least one array"),
        ({"a": jnp.ones(())}, {}, r"leaf a is float32\(\)"),
        ({"a": {"b": jnp.ones(3, int)}}, {}, "leaf a/b is int32"),
        ([1.0], {}, "leaf 0 is float"),
        ([jnp.ones(3)], {"normalization": "half"}, "normalization: unknown 'half'"),
    ],
)
def test_bad_pre_activations_are_named(zs, options, text):
    with pytest.raises(ValueError, match=text):
        psp_penalty(zs, **options)


# --- against brute force ---------------------------------------------------------


def lenet5_penalty(params, x):
    """Compute R of LeNet-5 in NumPy, one window at a time."""
    total = []
    for name in ("Conv_0", "Conv_1"):
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        side = (x.shape[1] - 4) // 2
        z = np.empty((x.shape[0], side, side, kernel.shape[3]))
        for i in range(side):
            for j in range(side):
                window = [
                    np.tensordot(x[:, a : a + 5, b : b + 5], kernel, 3)
                    for a in (2 * i, 2 * i + 1)
                    for b in (2 * j, 2 * j + 1)
                ]
                z[:, i, j] = np.max(window, axis=0) + bias
        total.append((z**2).mean())
        x = np.maximum(z, 0)
    x = x.reshape(x.shape[0], -1)
    for name in ("Dense_0", "Dense_1"):
        z = x @ params[name]["kernel"] + params[name]["bias"]
        total.append((z**2).mean())
        x = np.maximum(z, 0)
    return np.mean(total)


def test_lenet5_equals_numpy_and_its_finite_differences():
    init_fn, apply_fn = models.build("lenet5", 10, (16, 16, 1))
    tapped = preactivations(apply_fn)
    with jax.enable_x64(True):
        wide = lambda leaf: np.asarray(leaf, np.float64)
        params = jax.tree.map(wide, init_fn(jax.random.key(0)))
        x = np.random.default_rng(1).normal(size=(3, 16, 16, 1))
        value, slope = jax.jit(
            jax.value_and_grad(lambda p, x: psp_penalty(tapped(p, x)[1]))
        )(params, x)
        np.testing.assert_allclose(value, lenet5_penalty(params, x), rtol=1e-10)
        rng = np.random.default_rng(2)
        leaves, structure = jax.tree.flatten(params)
        for number, (leaf, felt) in enumerate(
            zip(leaves, jax.tree.leaves(slope), strict=True)
        ):
            way = rng.normal(size=leaf.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = [*leaves[:number], leaf + step * way, *leaves[number + 1 :]]
                ends.append(lenet5_penalty(structure.unflatten(moved), x))
            wanted = (ends[0] - ends[1]) / 2e-6
            scale = np.linalg.norm(felt) * np.linalg.norm(way)
            np.testing.assert_allclose((felt * way).sum(), wanted, atol=1e-6 * scale)


class Block(nn.Module):
    """A residual net with batch-norm in training mode that hands over its own z's."""

    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x):
        options = {"dtype": self.dtype, "param_dtype": self.dtype}
        norm = lambda: nn.BatchNorm(use_running_average=False, **options)
        zs = [norm()(nn.Conv(4, (3, 3), use_bias=False, **options)(x))]
        x = nn.relu(zs[-1])
        zs.append(norm()(nn.Conv(4, (3, 3), use_bias=False, **options)(x)))
        h = nn.Conv(4, (3, 3), use_bias=False, **options)(nn.relu(zs[-1]))
        zs.append(norm()(h) + x)
        y = nn.Dense(3, **options)(nn.relu(zs[-1]).mean((1, 2)))
        return y, [*zs, y]


class Twin(nnx.Module):
    """An NNX network that hands over its own z's."""

    def __init__(self, rngs):
        options = {"rngs": rngs, "param_dtype": jnp.float64, "dtype": jnp.float64}
        self.conv = nnx.Conv(2, 5, (3, 3), strides=2, **options)
        self.out = nnx.Linear(45, 3, **options)

    def __call__(self, x):
        z = self.conv(x)
        y = self.out(nnx.gelu(z).reshape(z.shape[0], -1))
        return y, [z, y]


def residual():
    model, x = Block(jnp.float64), draw(5, 5, 6, 6, 2, dtype=jnp.float64)
    variables = Block().init(jax.random.key(0), x.astype(jnp.float32))
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
    held = {"batch_stats": variables["batch_stats"]}

    def apply(params, x):
        return model.apply({"params": params, **held}, x, mutable="batch_stats")[0]

    return apply, variables["params"], x


def twin():
    graph, params, rest = nnx.split(Twin(nnx.Rngs(0)), nnx.Param, ...)
    x = draw(5, 5, 6, 6, 2, dtype=jnp.float64)
    return lambda p, x: nnx.merge(graph, p, rest)(x), params, x


@pytest.mark.parametrize("network", [residual, twin])
@pytest.mark.parametrize("around", [lambda f: f, jax.checkpoint])
def test_it_equals_what_the_model_hands_over_itself(network, around):
    # Flax keeps its running statistics in float32.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        apply, params, x = network()
        tapped = preactivations(around(lambda p, x: apply(p, x)[0]))
        both = jax.jit(
            lambda p, x: [
                jax.value_and_grad(lambda p: psp_penalty(tapped(p, x)[1]))(p),
                jax.value_and_grad(lambda p: psp_penalty(apply(p, x)[1]))(p),
            ]
        )
        found, wanted = both(params, x)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, 1e-10), found, wanted)


def test_the_local_gradient_is_the_closed_form():
    init_fn, apply_fn = models.build("lenet5", 10, (16, 16, 1))
    params = init_fn(jax.random.key(0))
    x = draw(1, 4, 16, 16, 1)
    tapped = preactivations(apply_fn, local=True)

    @jax.jit
    def both(params, x):
        penalty = lambda p: psp_penalty(tapped(p, x)[1])
        return jax.grad(penalty)(params), tapped(params, x)[1]

    found, zs = both(params, x)
    z, entering = zs["relu_0"], jax.nn.relu(zs["Conv_1/relu_0"]).reshape(4, -1)
    # dR/dw = 2 / (L N_l) mean over the batch of z times what enters, 1 for a bias.
    wanted = {
        "kernel": 2 / (4 * 500) * entering.T @ z / 4,
        "bias": 2 / (4 * 500) * z.mean(0),
    }
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-8),
        found["Dense_0"],
        wanted,
    )
    z = zs["Conv_0/relu_0"]
    bias = 2 / (4 * 20) * z.mean((0, 1, 2))
    np.testing.assert_allclose(found["Conv_0"]["bias"], bias, rtol=1e-4)


# --- three ways in, one gradient -------------------------------------------------

PARAMS = {"w": draw(1, 4, 6), "b": draw(2, 6), "v": draw(3, 6, 3)}
BATCH = Batch(draw(4, 5, 4), jnp.arange(5) % 3)


def apply_fn(p, x):
    return jax.nn.relu(x @ p["w"] + p["b"][None]) @ p["v"]


def loss_fn(p, batch):
    logits = apply_fn(p, batch.image)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.label).mean()
    return loss, logits


def close(found, wanted):
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, 2e-5, 1e-7), found, wanted
    )


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_transform_and_the_loss_form_agree(local, normalization):
    options = {"normalization": normalization, "local": local}
    total = with_psp(loss_fn, WEIGHT, logits=lambda y: y, has_aux=True, **options)
    tx = psp_regularization(apply_fn, WEIGHT, **options)

    @jax.jit
    def both(params, batch):
        (value, info), grads = jax.value_and_grad(total, has_aux=True)(params, batch)
        plain = jax.grad(lambda p: loss_fn(p, batch)[0])(params)
        added, _ = tx.update(plain, tx.init(params), params, batch=batch)
        return value, info, grads, added

    value, info, grads, added = both(PARAMS, BATCH)
    close(grads, added)
    loss, logits = loss_fn(PARAMS, BATCH)
    close(info.loss, loss)
    close(info.aux, logits)
    close(value, loss + WEIGHT * info.penalty)
    _, zs = preactivations(apply_fn)(PARAMS, BATCH.image)
    close(info.penalty, psp_penalty(zs, normalization=normalization))
    close(dict(info.mean_squares), {k: jnp.mean(z**2) for k, z in zs.items()})


def test_without_logits_and_with_each_form_of_a_batch():
    schedule = lambda count: WEIGHT + count.astype(jnp.float32)
    total = with_psp(lambda p, b: loss_fn(p, b)[0], WEIGHT)
    wanted, info = jax.grad(total, has_aux=True)(PARAMS, BATCH)
    assert list(info.mean_squares) == ["relu_0"] and info.aux is None
    plain = jax.grad(lambda p: loss_fn(p, BATCH)[0])(PARAMS)
    tx = psp_regularization(apply_fn, schedule, logits=False)
    for needs in (
        {"batch": BATCH},
        {"batch": {"image": BATCH.image}},
        {"batch": BATCH.image},
        {"batch": object(), "inputs": BATCH.image},
    ):
        close(tx.update(plain, tx.init(PARAMS), PARAMS, **needs)[0], wanted)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: with_psp(loss_fn, -1.0), "weight: expected a number >= 0"),
        (lambda: with_psp(loss_fn, float("nan")), "weight: expected a number >= 0"),
        (lambda: with_psp(loss_fn, lambda n: 1.0), "got a function"),
        (lambda: with_psp(loss_fn, 1.0, logits=lambda y: y), "needs has_aux"),
        (lambda: with_psp(loss_fn, 1.0, normalization="x"), "normalization: unknown"),
        (lambda: psp_regularization(apply_fn, -1.0), "weight: expected a number >= 0"),
        (
            lambda: psp_regularization(apply_fn, 1.0, normalization="x"),
            "normalization: unknown",
        ),
        (
            lambda: psp_regularization(apply_fn, 1.0, nonlinearities=("x",)),
            "nonlinearities: unknown",
        ),
        (
            lambda: with_psp(lambda p, x: (x @ p).sum(), 1.0)(jnp.eye(2), jnp.eye(2)),
            "found no relu",
        ),
    ],
)
def test_bad_options_are_one_clear_error(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_steps_in_a_scan_over_seeds_compile_once_and_shrink_what_neurons_receive():
    def train(params, weight):
        total = with_psp(loss_fn, weight, logits=lambda y: y, has_aux=True)
        grad_fn = jax.value_and_grad(total, has_aux=True)
        tx = optax.sgd(0.1)

        def step(carry, _):
            params, state = carry
            (_, info), grads = grad_fn(params, BATCH)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), info.penalty

        return lax.scan(step, (params, tx.init(params)), length=30)[1]

    traces = []

    @jax.jit
    def members(stack, weights):
        traces.append(1)
        return jax.vmap(train)(stack, weights)

    stack = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
    for _ in range(2):
        penalties = members(stack, jnp.asarray([0.0, 0.1]))
    assert len(traces) == 1
    np.testing.assert_allclose(penalties[0, 0], penalties[1, 0], rtol=1e-6)
    assert penalties[1, -1] < 0.7 * penalties[0, -1]


def test_it_composes_with_sensitivity_decay_and_prune_in_one_chain():
    feel = lambda p, batch: pruning.sensitivity(
        apply_fn, p, batch.image, pruning.unspecific(3)
    )
    tx = optax.chain(
        psp_regularization(apply_fn, WEIGHT),
        optax.sgd(0.1),
        pruning.sensitivity_decay(1e-2, sensitivity_fn=feel),
        pruning.prune(pruning.polynomial(2, 8, 0.25)),
    )

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            (loss, _), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, BATCH)
            updates, state = tx.update(grads, state, params, batch=BATCH)
            return (optax.apply_updates(params, updates), state), loss

        return lax.scan(step, (params, tx.init(params)), length=12)

    (params, state), losses = train(PARAMS)
    masks = pruning.masks_of(state)
    kept = pruning.count(masks, prunable=pruning.weights_only).kept
    assert kept == round(0.25 * (24 + 18))
    jax.tree.map(lambda p, m: np.testing.assert_array_equal(p[~m], 0), params, masks)
    assert np.isfinite(losses).all()
    # The first transform acts: without it the first step is another one.
    first = tx.update(PARAMS, tx.init(PARAMS), PARAMS, batch=BATCH)[0]
    slope = jax.grad(lambda p: psp_penalty(preactivations(apply_fn)(p, BATCH.image)[1]))
    decay = 1e-2 * PARAMS["b"] * pruning.insensitivity(feel(PARAMS, BATCH))["b"]
    wanted = -0.1 * (PARAMS["b"] + WEIGHT * slope(PARAMS)["b"]) - decay
    close(first["b"], wanted)

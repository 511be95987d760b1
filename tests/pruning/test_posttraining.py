"""Wanda and SparseGPT by hand, by the definition, and by the outputs they keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from pruning import posttraining
from tests import unchecked
from tests.pruning import networks

RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 4))
X = RNG.normal(size=(20, 6)) @ RNG.normal(size=(6, 6))  # correlated inputs


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def apply(params, x):
    return jax.nn.relu(x @ params["first"] + params["bias"][None]) @ params["second"].T


def params():
    second = RNG.normal(size=(3, 4))
    made = {"first": W, "bias": np.ones(4), "second": second}
    return jax.tree.map(jnp.asarray, made)


def test_wanda_is_the_weight_times_the_norm_of_what_enters_it():
    own = params()
    found = posttraining.wanda(apply, own, [X[:5], X[5:]])
    norm = np.linalg.norm(X, axis=0)
    np.testing.assert_allclose(found["first"], np.abs(W) * norm[:, None], rtol=1e-10)
    hidden = np.maximum(X @ W + 1, 0)
    expected = np.abs(own["second"]) * np.linalg.norm(hidden, axis=0)
    np.testing.assert_allclose(found["second"], expected, rtol=1e-10)
    assert not found["bias"].any()
    # By autodiff: dz_bj/dw_ij = x_bi, and the scores are the norms over b, times |w|.
    slopes = jax.jacrev(lambda w: X @ w)(own["first"])
    norms = jnp.sqrt(sum(slopes[:, j, :, j] ** 2 for j in [0]).sum(0))
    np.testing.assert_allclose(found["first"][:, 0], np.abs(W[:, 0]) * norms, rtol=1e-6)


def test_wanda_of_convolutions_is_over_all_patches():
    kernel = jnp.asarray(RNG.normal(size=(3, 2, 2, 5)))
    x = jnp.asarray(RNG.normal(size=(2, 7, 6, 2)))

    def conv(params, x):
        return networks._conv(x, params["k"], (2, 1), "SAME")

    found = posttraining.wanda(conv, {"k": kernel}, [x])["k"]
    slopes = jax.jacrev(lambda k: conv({"k": k}, x)[..., 0])(kernel)[..., 0]
    norms = jnp.sqrt((slopes**2).sum((0, 1, 2)))
    np.testing.assert_allclose(
        found[..., 0], jnp.abs(kernel[..., 0]) * norms, rtol=1e-6
    )


def test_each_output_keeps_its_share():
    scores = {"w": jnp.asarray(np.abs(W)), "b": jnp.ones(3)}
    masks = posttraining.per_output(scores, 0.5)
    assert masks["w"].sum(0).tolist() == [3, 3, 3, 3] and masks["b"].all()
    for column, mask in zip(np.abs(W).T, np.asarray(masks["w"]).T, strict=True):
        assert column[mask].min() > column[~mask].max()


def swept(weights, gram, kept):
    """Return the weights of equation 3, each inverse of H_R taken by itself."""
    weights = weights.copy()
    for j in range(weights.shape[1]):
        for i in np.flatnonzero(~kept[:, j]):
            inverse = np.linalg.inv(gram[i:, i:])
            weights[i:, j] -= weights[i, j] / inverse[0, 0] * inverse[:, 0]
    return np.where(kept, weights, 0)


@pytest.mark.parametrize(
    "options", [{}, {"block": 2}, {"pattern": (1, 2)}, {"pattern": (2, 3)}]
)
def test_sparsegpt_is_the_sweep_of_its_equation(options):
    found, masks = posttraining.sparsegpt(
        lambda p, x: x @ p["w"].T,
        {"w": jnp.asarray(W.T)},
        [X[:9], X[9:]],
        0.5,
        **options,
    )
    gram = X.T @ X
    gram += 0.01 * np.mean(np.diag(gram)) * np.eye(6)
    kept = np.asarray(masks["w"]).T
    np.testing.assert_allclose(found["w"].T, swept(W, gram, kept), rtol=1e-8)
    assert kept.sum() == (16 if options.get("pattern") == (2, 3) else 12)
    if "pattern" in options:
        n, m = options["pattern"]
        assert (kept.reshape(-1, m, 4).sum(1) == n).all()


def test_sparsegpt_keeps_outputs_better_than_the_mask_alone():
    own = params()
    found, masks = posttraining.sparsegpt(apply, own, [X], 0.5)
    error = lambda w: float(jnp.linalg.norm(X @ (w - W)))
    masked = jnp.where(masks["first"], own["first"], 0)
    assert error(found["first"]) < error(masked)
    assert pruning.count(masks).kept == 18
    assert (found["first"][~masks["first"]] == 0).all()
    np.testing.assert_array_equal(found["bias"], own["bias"])


def test_a_layer_sees_what_the_pruned_ones_before_it_give():
    own = params()
    found, _ = posttraining.sparsegpt(apply, own, [X], 0.5)
    hidden = jax.nn.relu(X @ found["first"] + found["bias"][None])
    alone, _ = posttraining.sparsegpt(
        lambda p, x: x @ p["w"].T, {"w": own["second"]}, [hidden], 0.5
    )
    np.testing.assert_allclose(found["second"], alone["w"], rtol=1e-8)


def test_an_input_that_is_always_zero_goes_first():
    x = X.copy()
    x[:, 2] = 0
    run = lambda p, x: x @ p["w"]
    found, _ = posttraining.sparsegpt(run, {"w": jnp.asarray(W)}, [x], 0.8)
    assert not found["w"][2].any() and bool(jnp.isfinite(found["w"]).all())


def test_what_is_no_single_product_is_refused_by_name():
    conv = lambda p, x: networks._conv(x, p["k"])
    x, kernel = jnp.ones((1, 4, 4, 1)), {"k": jnp.ones((2, 2, 1, 1))}
    with pytest.raises(ValueError, match="leaf k does not enter one dot_general"):
        posttraining.sparsegpt(conv, kernel, [x], 0.5)
    twice = lambda p, x: x @ p["w"] @ p["w"]
    square = {"w": jnp.eye(6)}
    with pytest.raises(ValueError, match="leaf w does not enter one"):
        posttraining.wanda(twice, square, [X])
    once = lambda p, x: x @ p["w"]
    for options, message in (
        ({"density": 1.5}, "density: expected"),
        ({"density": 0.5, "pattern": (2, 4)}, "not a multiple of 4"),
        ({"density": 0.5, "pattern": (3, 2)}, "pattern: expected 1 <= n"),
        ({"density": 0.5, "block": 0}, "block, damp: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            posttraining.sparsegpt(once, square, [X], **options)
    with pytest.raises(ValueError, match="batches: expected at least one"):
        posttraining.wanda(once, square, [])


@pytest.mark.parametrize(
    ("weight", "entry", "message"),
    [
        (1 + 1j, 1.0, "params: leaf w is complex"),
        (np.inf, 1.0, "params: leaf w is not finite"),
        (1.0, np.nan, "batches: what enters leaf w is not finite"),
    ],
)
def test_what_is_not_real_and_finite_is_refused_by_name(weight, entry, message):
    params, batches = {"w": jnp.full((3, 2), weight)}, [jnp.full((4, 3), entry)]
    apply_fn = lambda params, x: x @ params["w"]
    with pytest.raises(ValueError, match=message):
        posttraining.wanda(apply_fn, params, batches)
    with pytest.raises(ValueError, match=message):
        posttraining.sparsegpt(apply_fn, params, batches, 0.5)


def test_scores_that_are_not_finite_rank_nothing():
    with pytest.raises(ValueError, match="scores: leaf w is not finite"):
        posttraining.per_output({"w": jnp.full((3, 2), jnp.nan)}, 0.5)


def test_what_is_no_number_is_named():
    once, square = lambda p, x: x @ p["w"], {"w": jnp.eye(6)}
    for options, message in (
        ({"density": "0.5"}, "density: expected a number"),
        ({"density": 0.5, "block": 2.5}, "block, damp: expected an integer"),
        ({"density": 0.5, "damp": None}, "block, damp: expected"),
        ({"density": 0.5, "damp": np.nan}, "block, damp: expected"),
        ({"density": 0.5, "pattern": (2.0, 3)}, "pattern: n and m: expected"),
    ):
        with unchecked(), pytest.raises(ValueError, match=message):
            posttraining.sparsegpt(once, square, [X], **options)

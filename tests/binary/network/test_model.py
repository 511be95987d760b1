"""Deep networks: propagation, draws, the binarised network, and the committee."""

import itertools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from jax.scipy.special import log_ndtr

from binary.network import committee, model, moments, objective
from binary.projection import project_magnetisations

LAYERS = (model.Dense(31), model.Dense(21), model.Dense(3))
CONVOLUTIONS = (model.Conv(4, 3, 2), model.Conv(5, 3, 1, "SAME"), model.Dense(3))
# One program each; op by op, every operation is compiled by itself.
INIT = jax.jit(model.init, static_argnums=(1, 2), static_argnames="wanted")
PROPAGATE = jax.jit(model.propagate, static_argnums=0)
RUN_SIGNS = jax.jit(model.run_signs, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    return INIT(jax.random.key(0), LAYERS, (11,), wanted=0.3)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (40, 11))


def by_hand(weights, x):
    """Return the last field of sign weights and activations, in NumPy loops."""
    values = np.asarray(x, np.float64)
    for index in range(len(weights)):
        own = weights[f"layer_{index}"]
        if index:
            values = np.where(values > 0, 1.0, -1.0)
        w = np.asarray(own["m"], np.float64)
        values = values @ w + np.asarray(own["bias"]) * np.sqrt(w.shape[0])
    return values


def with_biases(params, key):
    drawn = jax.random.split(key, len(params))
    return {
        name: own | {"bias": 0.1 * jax.random.normal(k, own["bias"].shape)}
        for k, (name, own) in zip(drawn, params.items(), strict=True)
    }


def test_the_mode_runs_on_signs(params, x):
    weights = model.mode(with_biases(params, jax.random.key(2)))
    assert all(set(np.unique(own["m"])) == {-1.0, 1.0} for own in weights.values())
    found = RUN_SIGNS(LAYERS, weights, x)
    np.testing.assert_allclose(found, by_hand(weights, x), atol=1e-4)


def test_a_certain_network_propagates_as_it_runs(params, x):
    weights = model.mode(with_biases(params, jax.random.key(2)))
    mean = PROPAGATE(LAYERS, weights, x).mean
    # Real inputs may bring a field as near to zero as the floor of the variance.
    np.testing.assert_allclose(mean, RUN_SIGNS(LAYERS, weights, x), atol=0.02)


def test_draws_have_the_means_of_the_parameters(params):
    keys = jax.random.split(jax.random.key(4), 500)
    drawn = jax.jit(jax.vmap(lambda key: model.draw(params, key)))(keys)
    for name, own in params.items():
        error = np.sqrt((1 - np.square(own["m"])) / 500)
        away = np.abs(drawn[name]["m"].mean(0) - own["m"]) / np.maximum(error, 1e-3)
        assert away.max() < 5


def test_propagation_is_the_mean_of_sampled_runs(params, x):
    """One hidden layer apart, where independence is exact but for the CLT."""
    layers = (model.Dense(400), model.Dense(3))
    own = INIT(jax.random.key(5), layers, (11,), wanted=0.3)
    keys = jax.random.split(jax.random.key(6), 2000)
    sampled = jax.vmap(lambda key: model.sampled(layers, own, x, key).mean)
    runs = jax.jit(sampled)(keys)
    error = np.asarray(runs.std(0)) / np.sqrt(2000)
    gap = np.abs(runs.mean(0) - PROPAGATE(layers, own, x).mean)
    assert (gap < 5 * error).all()


def test_the_gradient_runs_through_the_variance(params, x):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
        wide_x = jnp.asarray(x, jnp.float64)

        @jax.jit
        def total(params):
            field = PROPAGATE(LAYERS, params, wide_x)
            return model.logits(field, 21)[:, 0].sum()

        grads = jax.grad(total)(wide)
        for name in wide:
            step = np.zeros(wide[name]["m"].shape)
            step[3, 1] = 1e-6
            moved = [
                total(wide | {name: wide[name] | {"m": wide[name]["m"] + s * step}})
                for s in (1, -1)
            ]
            slope = float(moved[0] - moved[1]) / 2e-6
            np.testing.assert_allclose(grads[name]["m"][3, 1], slope, rtol=1e-5)


def test_convolutional_networks_run_in_every_way():
    x = jax.random.normal(jax.random.key(1), (4, 9, 9, 2))
    own = INIT(jax.random.key(0), CONVOLUTIONS, (9, 9, 2))
    own = with_biases(own, jax.random.key(3))  # an even number of terms may tie
    weights = model.mode(own)
    assert PROPAGATE(CONVOLUTIONS, own, x).mean.shape == (4, 3)
    sampled = jax.jit(model.sampled, static_argnums=0)
    drawn = sampled(CONVOLUTIONS, own, x, jax.random.key(2))
    assert drawn.mean.shape == (4, 3)
    hard = RUN_SIGNS(CONVOLUTIONS, weights, x)
    mean = PROPAGATE(CONVOLUTIONS, weights, x).mean
    np.testing.assert_allclose(mean, hard, atol=0.02)


def test_the_overlaps_rise_to_their_target(params):
    target = jnp.float32(0.9)
    raised = params
    raise_overlaps = jax.jit(objective.raise_overlaps)
    for _ in range(60):
        raised = raise_overlaps(raised, target)
    for name, q in model.self_overlaps(raised).items():
        np.testing.assert_allclose(q, 0.9, atol=1e-3)
        assert (np.sign(raised[name]["m"]) == np.sign(params[name]["m"])).all()
    lowered = raise_overlaps(params, jnp.float32(0.01))
    for name, own in lowered.items():
        np.testing.assert_array_equal(own["m"], params[name]["m"])


def test_the_pull_is_the_mean_of_one_minus_m_squared(params):
    wanted = sum(1 - np.square(own["m"]).mean() for own in params.values())
    np.testing.assert_allclose(model.pull(params), wanted, rtol=1e-5)
    assert float(model.pull(model.mode(params))) == 0


def test_the_ramp_and_the_schedule():
    progress = jnp.array([0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(
        objective.ramp(progress, 0.25, 0.75), [0, 0, 0.5, 1, 1], atol=1e-7
    )
    found = objective.overlap_target(progress, jnp.float32(0.5), 2.0)
    np.testing.assert_allclose(found[jnp.array([0, 2, 4])], [0.5, 0.875, 1.0])


def test_only_means_are_projected(params):
    tx = objective.masked_projection()
    far = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3.0), params)
    updates, _ = tx.update(far, tx.init(params), params)
    moved = optax.apply_updates(params, updates)
    for name, own in moved.items():
        np.testing.assert_allclose(own["m"], 1.0, atol=1e-6)
        np.testing.assert_allclose(own["bias"], params[name]["bias"] + 3.0, rtol=1e-6)


def test_parameters_of_other_layers_are_refused(params, x):
    with pytest.raises(ValueError, match="params: expected 2 layers"):
        model.propagate(LAYERS[1:], params, x)
    broken = params | {"layer_0": {"kernel": params["layer_0"]["m"]}}
    with pytest.raises(ValueError, match="layer_0: expected m and bias"):
        model.propagate(LAYERS, broken, x)


# --- trees of one's own ----------------------------------------------------------


class Body(nn.Module):
    """A module as a user writes it: stochastic layers here and there."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(7)(x)
        field = model.StochasticLayer(model.Dense(5), signs=False)(x)
        means = nn.LayerNorm()(moments.sign_mean(field))
        return model.StochasticLayer(model.Dense(3), signs=True, name="last")(means)


@pytest.fixture(scope="module")
def tree():
    params = Body().init(jax.random.key(0), jnp.ones((2, 4)))["params"]
    return {"body": params, "scale": jnp.ones(3), "m": jnp.full(2, 0.5)}


def test_stochastic_layers_are_found_anywhere_and_the_rest_is_left_alone(tree):
    """Each function on the tree is that on its two layers; all else is untouched."""
    layers = {"last", "StochasticLayer_0"}
    flat = {name: tree["body"][name] for name in layers}
    drawn = model.draw(tree, jax.random.key(1))
    for changed in (
        model.mode(tree),
        drawn,
        objective.raise_overlaps(tree, jnp.float32(0.9)),
    ):
        assert jax.tree.structure(changed) == jax.tree.structure(tree)
        for name in layers:
            assert (changed["body"][name]["m"] != tree["body"][name]["m"]).any()
            np.testing.assert_array_equal(
                changed["body"][name]["bias"], tree["body"][name]["bias"]
            )
        for name in ("Dense_0", "LayerNorm_0"):
            for leaf, value in tree["body"][name].items():
                np.testing.assert_array_equal(changed["body"][name][leaf], value)
        np.testing.assert_array_equal(changed["m"], tree["m"])  # no bias beside it
    for name in layers:
        assert set(np.unique(drawn["body"][name]["m"])) == {-1.0, 1.0}
        np.testing.assert_array_equal(
            model.mode(tree)["body"][name]["m"], model.mode(flat)[name]["m"]
        )
    overlaps = model.self_overlaps(tree)
    assert set(overlaps) == {"body/StochasticLayer_0", "body/last"}
    np.testing.assert_allclose(
        overlaps["body/last"], jnp.square(tree["body"]["last"]["m"]).mean()
    )
    np.testing.assert_allclose(model.pull(tree), model.pull(flat), rtol=1e-6)
    tx = objective.masked_projection()
    far = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3.0), tree)
    updates, _ = tx.update(far, tx.init(tree), tree)
    moved = optax.apply_updates(tree, updates)
    np.testing.assert_allclose(moved["body"]["last"]["m"], 1.0, atol=1e-6)
    np.testing.assert_allclose(moved["scale"], 4.0)


def test_trees_of_tuples_frozen_dicts_and_nnx_are_trees_too(tree):
    signs = model.mode(tree)["body"]["last"]["m"]
    listed = model.mode([tree["body"], 1.0])
    np.testing.assert_array_equal(listed[0]["last"]["m"], signs)
    frozen = model.mode(flax.core.freeze(tree))
    np.testing.assert_array_equal(frozen["body"]["last"]["m"], signs)

    class Layer(nnx.Module):
        def __init__(self):
            own = tree["body"]["last"]
            self.m, self.bias = nnx.Param(own["m"]), nnx.Param(own["bias"])

    state = nnx.state(Layer())
    np.testing.assert_array_equal(model.mode(state)["m"].get_value(), signs)
    assert len(model.self_overlaps(state)) == 1
    alone = model.mode(tree["body"]["last"])
    np.testing.assert_array_equal(alone["m"], signs)


def test_a_tree_without_a_stochastic_layer_is_refused():
    with pytest.raises(ValueError, match=r"expected a stochastic layer.*kernel"):
        model.mode({"Dense_0": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}})


def test_the_largest_of_independent_signs_has_the_mean_of_the_formula():
    means = jax.random.uniform(jax.random.key(0), (2, 5, 4, 3), minval=-1, maxval=1)
    states = np.array(list(itertools.product([-1, 1], repeat=4)))
    pooled = moments.pool(means, 2)
    assert pooled.shape == (2, 2, 2, 3)
    window = np.asarray(means)[1, 2:4, 0:2, 2].ravel()
    chances = np.prod((1 + states * window) / 2, axis=1)
    np.testing.assert_allclose(
        pooled[1, 1, 0, 2], chances @ states.max(axis=1), atol=1e-6
    )


# --- the committee ---------------------------------------------------------------


def test_the_committee_likelihood_is_near_the_enumeration():
    """Every weight of a tiny committee, against two central limit theorems."""
    rng = np.random.default_rng(2)
    size, units = 9, 3
    m = rng.uniform(-0.9, 0.9, (size, units)).astype(np.float32)
    x = rng.choice([-1.0, 1.0], (20, size)).astype(np.float32)
    states = np.array(list(itertools.product([-1, 1], repeat=size)))
    fields = x @ states.T
    up = np.stack(
        [
            (fields > 0) @ np.prod((1 + states * m[:, k]) / 2, axis=1)
            for k in range(units)
        ]
    )
    right = sum(
        np.prod(np.where(np.array(v)[:, None] > 0, up, 1 - up), axis=0)
        for v in itertools.product([-1, 1], repeat=units)
        if sum(v) > 0
    )
    given = (jnp.asarray(a) for a in (m, x, np.ones(20, np.float32)))
    found = np.exp(log_ndtr(committee.stabilities(*given)))
    assert np.abs(found - right).max() < 0.06
    assert right.min() < 0.35 and right.max() > 0.65


def test_a_committee_is_solved_by_ascent():
    size, units, patterns = 101, 3, 90
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.rademacher(keys[0], (patterns, size), jnp.float32)
    y = jax.random.rademacher(keys[1], (patterns,), jnp.float32)
    m = 0.1 * jax.random.normal(keys[2], (size, units))
    tx = optax.chain(optax.scale(0.3), project_magnetisations())

    @jax.jit
    def solve(m):
        def step(carry, _):
            m, state = carry
            grads = jax.grad(committee.log_likelihood)(m, x, y)
            updates, state = tx.update(grads, state, m)
            m = optax.apply_updates(m, updates)
            return (m, state), committee.errors(m, x, y)

        return jax.lax.scan(step, (m, tx.init(m)), None, length=400)

    (m, _), errors = solve(m)
    assert int(errors[0]) > 10
    weights = np.where(np.asarray(m) >= 0, 1, -1).astype(np.int64)
    votes = np.sign(np.asarray(x, np.int64) @ weights).sum(axis=1)
    assert (votes * np.asarray(y, np.int64) > 0).all()


def test_an_even_committee_is_refused():
    with pytest.raises(ValueError, match="odd number of hidden units, got 2"):
        committee.log_likelihood(jnp.zeros((3, 2)), jnp.ones((1, 3)), jnp.ones(1))

"""One contract for data, outputs and targets: what does not fit is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from analysis import curvature, entropy, landscape, operators, paths, planes, sharpness
from analysis.minima.maps import axes
from pruning import preactivations


def linear(params, x):
    return x @ params["w"]


@pytest.fixture
def problem():
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (12, 3))
    return {"w": jax.random.normal(keys[1], (3, 4))}, x, keys[2]


def example_losses(params, part):
    return landscape.cross_entropy(linear(params, part[0]), part[1])


def test_the_fisher_of_a_sequence_is_refused(problem):
    params, x, _ = problem
    tokens = x.reshape(4, 3, 3)
    operator = operators.fisher(linear, params, (tokens, jnp.zeros((4, 3), jnp.int32)))
    with pytest.raises(
        ValueError, match=r"apply_fn: expected outputs of shape \(B, C\)"
    ):
        operator.matvec(jnp.ones(12))
    flat = operators.fisher(linear, params, (x, jnp.zeros(12, jnp.int32)))
    assert jnp.isfinite(flat.matvec(jnp.ones(12))).all()


def test_losses_that_are_not_one_an_example_are_refused(problem):
    params, x, _ = problem
    operator = operators.empirical_fisher(
        lambda p, part: linear(p, part[0]), params, (x,)
    )
    with pytest.raises(ValueError, match=r"losses: expected shape \(B,\), got"):
        operator.matvec(jnp.ones(12))


@pytest.mark.parametrize("label", [-1, 4, 9])
def test_labels_outside_the_classes_are_refused(problem, label):
    params, x, _ = problem
    labels = jnp.arange(12, dtype=jnp.int32) % 4
    where = paths.line(params, jax.tree.map(jnp.zeros_like, params))
    with pytest.raises(ValueError, match=rf"label {label} lies outside \[0, 4\)"):
        landscape.survey(linear, where, jnp.array([0.0]), (x, labels.at[5].set(label)))
    # In a loss of one's own that uses this cross-entropy the products are NaN.
    loss = landscape.mean_loss(linear)
    operator = operators.hessian(loss, params, (x, labels.at[5].set(label)))
    with pytest.raises(ValueError, match="products are not finite"):
        curvature.top_eigenpairs(operator, 1, jax.random.key(0))


def test_targets_of_other_kinds_have_a_loss_and_no_error(problem):
    params, x, key = problem
    where = paths.line(params, jax.tree.map(jnp.zeros_like, params))
    ends = jnp.array([0.0, 1.0])
    target = jax.random.normal(key, (12, 4))
    squares = lambda y, t: ((y - t) ** 2).sum(-1)
    found = landscape.survey(linear, where, ends, (x, target), loss=squares)
    expected = [squares(linear(params, x), target).mean(), (target**2).sum(-1).mean()]
    np.testing.assert_allclose(found.loss, expected, rtol=1e-5)
    assert found.error is None
    tokens = landscape.survey(
        linear, where, ends, (x.reshape(4, 3, 3), jnp.ones((4, 3), jnp.int32))
    )
    assert tokens.error is None and jnp.isfinite(tokens.loss).all()
    with pytest.raises(ValueError, match="expected integer labels for cross-entropy"):
        landscape.survey(linear, where, ends, (x, target))


@pytest.mark.parametrize("make", ["hessian", "gauss_newton"])
def test_a_weighted_mean_does_not_depend_on_the_batch(problem, make):
    params, x, key = problem
    labels = jnp.array([0] * 9 + [1, 2, 3], jnp.int32)
    shares = jnp.array([1.0, 10.0, 5.0, 0.0])
    v = jax.random.normal(key, (12,))

    def on_outputs(y, labels):
        each = optax.softmax_cross_entropy_with_integer_labels(y, labels)
        return (shares[labels] * each).sum() / shares[labels].sum()

    def product(batch, weight):
        options = {"batch": batch, "weight": weight}
        if make == "hessian":
            loss = lambda p, part: on_outputs(linear(p, part[0]), part[1])
            operator = operators.hessian(loss, params, (x, labels), **options)
        else:
            operator = operators.gauss_newton(
                linear, on_outputs, params, (x, labels), **options
            )
        return operator.matvec(v)

    weight = lambda part: shares[part[1]].sum()
    whole = product(12, None)
    # 5 leaves a ragged batch of 2; 1 gives batches that weigh nothing.
    for batch in (6, 5, 1):
        np.testing.assert_allclose(product(batch, weight), whole, rtol=2e-4, atol=1e-6)
    assert not np.allclose(product(5, None), whole, rtol=1e-2)


def test_a_filter_is_along_the_axis_that_is_named(problem):
    params, _, key = problem
    steps = {"w": jax.random.normal(key, (3, 4))}
    turned = lambda tree: jax.tree.map(jnp.transpose, tree)
    last = planes.filter_normalised(steps, params)
    first = planes.filter_normalised(turned(steps), turned(params), filter_axis=0)
    np.testing.assert_allclose(turned(first)["w"], last["w"], rtol=1e-6)
    with pytest.raises(ValueError, match="filter_axis: expected -1 or 0, got 1"):
        planes.filter_normalised(steps, params, filter_axis=1)


def test_the_rise_is_found_where_the_gradient_is_zero():
    bowl = lambda p, part: 50 * p["w"][0] ** 2 + p["w"][1] ** 2 + 0 * part.mean()
    data, centre = jnp.ones((4, 1)), {"w": jnp.zeros(2)}
    found = sharpness.ascent_sharpness(bowl, centre, data, radius=0.1, steps=20)
    np.testing.assert_allclose(found.rise, 0.5, rtol=1e-2)  # 50 * 0.1^2
    alone = sharpness.ascent_sharpness(
        bowl, centre, data, radius=0.1, steps=20, restarts=0
    )
    assert float(alone.rise) == 0
    with pytest.raises(ValueError, match="restarts: expected 0 or more, got -1"):
        sharpness.ascent_sharpness(bowl, centre, data, radius=0.1, restarts=-1)


def test_layers_come_in_the_order_of_evaluation():
    weights = [jax.random.normal(jax.random.key(i), (4, 4)) for i in range(12)]

    def network(params, x):
        for w in params:
            x = jax.nn.relu(x @ w) + 1
        return x @ params[0]

    tapped = preactivations(network)
    x = jax.random.normal(jax.random.key(9), (20, 4))
    batches = [(x, jnp.arange(20, dtype=jnp.int32) % 2)]
    order = list(tapped(weights, x)[1])
    assert order[-1] == "logits" and order != sorted(order)
    first, squares = entropy.measure(tapped, weights, batches, 2)
    on, _ = entropy.states(tapped, weights, batches)
    for mapping in (first.per_class, first.per_neuron, first.live, squares, on):
        assert list(mapping) == order


@pytest.mark.parametrize("points", range(2, 14))
def test_every_grid_holds_the_solutions(points):
    along, across = axes(points)
    assert along.size == across.size == points
    for place in (0, 1):
        assert np.isclose(along, place).any()
    assert np.isclose(across, 0).any()
    np.testing.assert_allclose(np.diff(along), np.diff(along)[0])

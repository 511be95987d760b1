"""One contract for data, outputs and targets: what does not fit is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import analysis
from analysis import curvature, entropy, landscape, operators, paths, planes, sharpness
from analysis.minima.maps import axes
from pruning import preactivations
from tests import unchecked


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


def test_a_loss_of_each_example_is_named(problem):
    params, x, key = problem
    label = jnp.arange(12) % 4
    each = lambda y, t: landscape.cross_entropy(y, t)
    makes = (
        lambda: operators.hessian(example_losses, params, (x, label)),
        lambda: operators.gauss_newton(linear, each, params, (x, label)),
        lambda: operators.hessian_rest(linear, each, params, (x, label)),
    )
    for make in makes:
        with pytest.raises(ValueError, match=r"loss: expected a real scalar.*\(12,\)"):
            make().matvec(jnp.ones(12))
    with pytest.raises(ValueError, match=r"loss_fn: expected a real scalar.*\(5,\)"):
        paths.connect(example_losses, params, params, (x, label), key, steps=1, batch=5)


def test_data_that_are_no_pair_weights_that_are_none(problem):
    params, x, _ = problem
    label = jnp.arange(12) % 4
    loss = landscape.mean_loss(linear)
    message = r"data: expected a pair \(x, targets\)"
    for data in (x, {"x": x, "y": label}, (x, label, label)):
        with unchecked(), pytest.raises(ValueError, match=message):
            operators.fisher(linear, params, data)
        with unchecked(), pytest.raises(ValueError, match=message):
            landscape.survey(linear, paths.line(params, params), [0.0], data)
    each = lambda part: jnp.ones(part[1].shape)
    operator = operators.hessian(loss, params, (x, label), batch=4, weight=each)
    with pytest.raises(ValueError, match=r"weight: expected a scalar.*shape \(4,\)"):
        operator.matvec(jnp.ones(12))
    minus = lambda part: jnp.float32(-1)
    operator = operators.hessian(loss, params, (x, label), batch=4, weight=minus)
    assert jnp.isnan(operator.matvec(jnp.ones(12))).all()
    with pytest.raises(ValueError, match="data: expected arrays with one leading axis"):
        operators.hessian(loss, params, ([[1.0, 2.0, 3.0]], [0]))


def test_labels_are_one_for_each_output(problem):
    params, x, _ = problem
    loss = landscape.mean_loss(linear)
    label = jnp.arange(12) % 4
    for other in (label[:, None], jax.nn.one_hot(label, 4)):
        with pytest.raises(
            ValueError, match=r"labels: expected integers of shape \(12"
        ):
            loss(params, (x, other))
    inputs = {"a": x}
    found = landscape.survey(
        lambda p, x: linear(p, x["a"]),
        paths.line(params, params),
        [0.0],
        (inputs, label.tolist()),
    )
    np.testing.assert_allclose(found.loss[0], loss(params, (x, label)), rtol=1e-6)


def test_a_number_among_the_parameters_is_a_weight(problem):
    params, x, _ = problem
    scaled = {**params, "t": 2.0}
    net = lambda p, x: p["t"] * (x @ p["w"])
    loss = landscape.mean_loss(net)
    data = (x, jnp.arange(12) % 4)
    operator = operators.hessian(loss, scaled, data)
    assert operator.size == 13
    arrays = jax.tree.map(jnp.asarray, scaled)
    v = jnp.ones(13)
    same = operators.hessian(loss, arrays, data).matvec(v)
    np.testing.assert_allclose(operator.matvec(v), same, rtol=1e-6)


WHOLE = {
    "probes": lambda o, k, v: curvature.trace(o, k, probes=v),
    "probes:": lambda o, k, v: analysis.diagonal(o, k, probes=v),
    "probes: ": lambda o, k, v: analysis.watch(lambda p: o, k, probes=v),
    "k:": lambda o, k, v: curvature.top_eigenpairs(o, v, k),
    "steps": lambda o, k, v: analysis.spectral_density(o, k, steps=v),
    "steps:": lambda o, k, v: analysis.log_determinant(o, k, damping=1.0, steps=v),
    "lanes": lambda o, k, v: analysis.explore(jnp.sum, o, [0.0], lanes=v),
    "batch": lambda o, k, v: operators.hessian(o, jnp.ones(1), jnp.ones(1), batch=v),
    "steps: ": lambda o, k, v: analysis.top_eigenvalue(jnp.sum, steps=v),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_whole_number_or_key_is_named(name):
    operator, key = operators.from_matvec(lambda v: v, 2), jax.random.key(0)
    for value in (2.5, "3", jnp.ones(2), True):
        with unchecked(), pytest.raises(ValueError, match=name.strip(": ")):
            WHOLE[name](operator, key, value)
    if name not in ("lanes", "batch", "steps: ", "k:"):
        with unchecked(), pytest.raises(ValueError, match="key: expected one PRNG key"):
            WHOLE[name](operator, 0, 2)

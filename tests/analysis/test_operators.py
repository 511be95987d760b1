"""Products of the operators against dense matrices: closed forms and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from analysis import operators
from tests.analysis import networks

X, LABELS = networks.data(count=23)
BATCH = 10  # the last one has 3


columns = jax.jit(lambda matvec, eye: jax.lax.map(matvec, eye))


def dense(operator):
    """Return the operator as a matrix, a column at a time."""
    eye = jnp.eye(operator.size, dtype=operator.dtype)
    return np.asarray(columns(operator.matvec, eye).T)


def cross_entropy(y, labels):
    return optax.softmax_cross_entropy_with_integer_labels(y, labels).mean()


def random_mask(params, density, seed=0):
    """Keep round(density * n) weights, at least 2."""
    flat, unravel = ravel_pytree(params)
    kept = max(round(density * flat.size), 2)
    order = np.random.default_rng(seed).permutation(flat.size)
    flags = jnp.asarray(order < kept)
    return jax.tree.map(lambda a: a > 0.5, unravel(flags.astype(flat.dtype))), flags


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, atol=tolerance * np.abs(wanted).max())


def test_linear_regression_in_closed_form():
    # Mean of |x W - t|^2 / 2 : the second moment of x, once for each output.
    targets = jnp.stack([X[:, 0] ** 2, X[:, 1] - X[:, 2]], axis=1)
    params = {"w": jnp.ones((4, 2))}
    loss = lambda p, part: (
        jnp.sum((part[0] @ p["w"] - part[1]) ** 2) / (2 * len(part[0]))
    )
    found = dense(operators.hessian(loss, params, (X, targets), batch=BATCH))
    close(found, np.kron(np.asarray(X.T @ X / len(X)), np.eye(2)))


def test_logistic_regression_in_closed_form():
    params = jnp.array([0.3, -0.2, 0.5, 0.1])
    t = (LABELS > 0).astype(jnp.float32)
    loss = lambda p, part: optax.sigmoid_binary_cross_entropy(
        part[0] @ p, part[1]
    ).mean()
    found = dense(operators.hessian(loss, params, (X, t), batch=BATCH))
    s = np.asarray(jax.nn.sigmoid(X @ params))
    close(found, (np.asarray(X).T * (s * (1 - s))) @ np.asarray(X) / len(X))
    fisher = operators.fisher(
        lambda p, x: (x @ p)[:, None], params, (X, t), likelihood="bernoulli"
    )
    close(dense(fisher), found)


def test_softmax_regression_in_closed_form():
    params = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), X.dtype)}
    apply_fn = lambda p, x: x @ p["w"]
    loss = lambda p, part: cross_entropy(apply_fn(p, part[0]), part[1])
    wanted = 0
    for x in np.asarray(X):
        p = np.asarray(jax.nn.softmax(jnp.asarray(x) @ params["w"]))
        wanted = wanted + np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) / len(X)
    data = (X, LABELS)
    close(dense(operators.hessian(loss, params, data, batch=BATCH)), wanted)
    # The model is linear: Gauss-Newton and the true Fisher are the Hessian.
    newton = operators.gauss_newton(apply_fn, cross_entropy, params, data, batch=BATCH)
    close(dense(newton), wanted)
    close(dense(operators.fisher(apply_fn, params, data, batch=BATCH)), wanted)


@pytest.fixture(scope="module")
def perceptron():
    """Return loss, parameters and Hessian of a plain network of 610 weights."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = [
        jax.random.normal(keys[0], (4, 30)) / 2,
        jax.random.normal(keys[1], (30, 14)) / 5,
        jax.random.normal(keys[2], (14, 5)) / 4,
    ]

    def loss(p, part):
        hidden = jax.nn.relu(jnp.tanh(part[0] @ p[0]) @ p[1])
        return cross_entropy(hidden @ p[2], part[1])

    flat, unravel = ravel_pytree(params)
    matrix = jax.jit(jax.hessian(lambda v: loss(unravel(v), (X, LABELS))))(flat)
    return loss, params, np.asarray(matrix)


@pytest.fixture(scope="module", params=sorted(networks.NETWORKS))
def network(request):
    apply_fn, params = networks.NETWORKS[request.param]()
    loss = lambda p, part: cross_entropy(apply_fn(p, part[0]), part[1])
    flat, unravel = ravel_pytree(params)
    matrix = jax.jit(jax.hessian(lambda v: loss(unravel(v), (X, LABELS))))(flat)
    return apply_fn, loss, params, np.asarray(matrix)


@pytest.mark.parametrize("density", [1.0, 0.1, 0.02, 0.005])
def test_the_hessian_of_a_network_under_masks(perceptron, density):
    loss, params, matrix = perceptron
    mask, flags = random_mask(params, density)
    operator = operators.hessian(loss, params, (X, LABELS), batch=BATCH, mask=mask)
    close(dense(operator), matrix * np.outer(flags, flags))
    np.testing.assert_array_equal(operator.mask, flags)
    assert operator.matvecs_per_call == 3


def test_without_a_mask(network):
    _, loss, params, matrix = network
    operator = operators.hessian(loss, params, (X, LABELS), batch=BATCH)
    assert operator.mask is None
    close(dense(operator), matrix)
    tree = operator.unravel(jnp.ones(operator.size))
    assert jax.tree.structure(tree) == jax.tree.structure(params)


def test_gauss_newton_and_fisher_from_jacobians(network):
    apply_fn, _, params, _ = network
    flat, unravel = ravel_pytree(params)
    jacobian = jax.jit(jax.jacrev(lambda v: apply_fn(unravel(v), X)))(flat)
    p = jax.nn.softmax(apply_fn(params, X))
    inner = jnp.einsum("bi,ij->bij", p, jnp.eye(3)) - jnp.einsum("bi,bj->bij", p, p)
    wanted = jnp.einsum("bin,bij,bjm->nm", jacobian, inner, jacobian) / len(X)
    data = (X, LABELS)
    newton = operators.gauss_newton(apply_fn, cross_entropy, params, data, batch=BATCH)
    close(dense(newton), wanted)
    close(dense(operators.fisher(apply_fn, params, data, batch=BATCH)), wanted)
    gaussian = operators.fisher(
        apply_fn, params, data, likelihood="gaussian", batch=BATCH
    )
    close(dense(gaussian), jnp.einsum("bin,bim->nm", jacobian, jacobian) / len(X))


def test_empirical_fisher_from_single_gradients(network):
    apply_fn, loss, params, _ = network
    losses = lambda p, part: optax.softmax_cross_entropy_with_integer_labels(
        apply_fn(p, part[0]), part[1]
    )
    rows = []
    for i in range(len(X)):
        gradient = jax.grad(loss)(params, (X[i : i + 1], LABELS[i : i + 1]))
        rows.append(np.asarray(ravel_pytree(gradient)[0]))
    wanted = np.stack(rows).T @ np.stack(rows) / len(X)
    mask, flags = random_mask(params, 0.5)
    operator = operators.empirical_fisher(
        losses, params, (X, LABELS), batch=BATCH, mask=mask
    )
    close(dense(operator), wanted * np.outer(flags, flags))


def test_batch_norm_in_evaluation_mode_does_not_mix_examples():
    params, stats = networks.normalised()
    loss = lambda p, part: cross_entropy(
        networks.normalised_apply(p, stats, part[0]), part[1]
    )
    small = operators.hessian(loss, params, (X, LABELS), batch=4)
    whole = operators.hessian(loss, params, (X, LABELS), batch=len(X))
    v = jax.random.normal(jax.random.key(1), (small.size,))
    close(small.matvec(v), whole.matvec(v))


def test_float64_and_one_compilation_for_many_parameters():
    with jax.enable_x64(True):
        traces = []
        x = jnp.asarray(np.asarray(X), jnp.float64)

        def loss(p, part):
            traces.append(1)
            return jnp.mean(jnp.tanh(part[0] @ p) ** 4)

        product = jax.jit(lambda matvec, v: matvec(v))
        for seed in range(3):
            p = jnp.asarray(np.random.default_rng(seed).normal(size=4))
            operator = operators.hessian(loss, p, (x, LABELS), batch=23)
            found = product(operator.matvec, jnp.eye(4)[0])
            seen = len(traces)
            wanted = jax.hessian(lambda p: jnp.mean(jnp.tanh(x @ p) ** 4))(p)[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-10)
            assert found.dtype == jnp.float64
            first = seen if seed == 0 else first
            assert seen == first


def test_bad_input(network):
    apply_fn, loss, params, _ = network
    data = (X, LABELS)
    mask, _ = random_mask(params, 0.5)
    with pytest.raises(ValueError, match="mask: leaf"):
        operators.hessian(loss, params, data, mask={"other": jnp.ones(3, bool)})
    with pytest.raises(ValueError, match=r"mask: leaf .* expected bool"):
        operators.hessian(loss, params, data, mask=params)
    broken = jax.tree.map(lambda m: m[None], mask)
    with pytest.raises(ValueError, match=r"mask: leaf .* has shape"):
        operators.hessian(loss, params, data, mask=broken)
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        operators.hessian(loss, params, data, batch=0)
    with pytest.raises(ValueError, match="data: expected"):
        operators.hessian(loss, params, (X, LABELS[:3]))
    with pytest.raises(ValueError, match="likelihood: expected one of"):
        operators.fisher(apply_fn, params, data, likelihood="poisson")
    with pytest.raises(ValueError, match="params: leaf b is bfloat16, expected float"):
        low = {"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16)}
        operators.hessian(loss, low, data)
    with pytest.raises(ValueError, match="leaf b is float64, expected float32 like a"):
        mixed = {"a": np.ones(2, np.float32), "b": np.ones(2)}
        operators.hessian(loss, mixed, data)
    with pytest.raises(ValueError, match="params: leaf a is int32"):
        operators.hessian(loss, {"a": jnp.ones(2, jnp.int32)}, data)
    with pytest.raises(ValueError, match="params: expected at least one leaf"):
        operators.hessian(loss, {}, data)
    with pytest.raises(ValueError, match="size: expected at least 1"):
        operators.from_matvec(lambda v: v, 0)
    with pytest.raises(ValueError, match="mask: expected shape"):
        operators.from_matvec(lambda v: v, 3, mask=jnp.ones(2, bool))


def test_the_hessian_is_gauss_newton_and_the_rest():
    apply_fn, params = networks.linen()
    smooth = lambda p, x: jnp.tanh(apply_fn(p, x)) * apply_fn(p, x)
    mask, _ = random_mask(params, 0.6)
    for options in ({}, {"mask": mask}):
        whole = operators.hessian(
            lambda p, part: cross_entropy(smooth(p, part[0]), part[1]),
            params,
            (X, LABELS),
            batch=BATCH,
            **options,
        )
        parts = [
            make(smooth, cross_entropy, params, (X, LABELS), batch=BATCH, **options)
            for make in (operators.gauss_newton, operators.hessian_rest)
        ]
        close(sum(map(dense, parts)), dense(whole))
        assert np.abs(dense(parts[1])).max() > 0.01 * np.abs(dense(whole)).max()

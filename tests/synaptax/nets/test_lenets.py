"""The LeNets: counts, values against slow references, gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax.nets import layers, lenets, models
from tests.synaptax.nets.convolutions import entering_relus, reference_convolve

IMAGE = (20, 18, 2)  # both convolutions meet odd sizes: 16x14, 8x7, 4x3, 2x1


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def build(*arguments, **options):
    """Return a bundled network's functions, each compiled as a whole."""
    return tuple(jax.jit(f) for f in models.build(*arguments, **options))


def convolve_pool(x, kernel, method):
    return jax.jit(lenets.convolve_pool, static_argnums=2)(x, kernel, method)


def reference_pool(x):
    """Return 2x2 maxima, block by block."""
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    out = [
        [x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((1, 2)) for j in range(columns)]
        for i in range(rows)
    ]
    return np.transpose(np.array(out), (2, 0, 1, 3))


def reference_lenet5(params, x):
    """Return LeNet-5's logits with bias and ReLU before the pooling."""
    for name in ("Conv_0", "Conv_1"):
        layer = params[name]
        x = reference_pool(
            np.maximum(reference_convolve(x, layer["kernel"]) + layer["bias"], 0)
        )
    x = x.reshape(len(x), -1)
    x = np.maximum(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"], 0)
    return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


def test_parameter_counts_are_the_papers(key):
    def count(name):
        init_fn, _ = build(name, 10, (28, 28, 1))
        return size(jax.eval_shape(init_fn, key))

    assert count("lenet300") == 784 * 300 + 300 * 100 + 100 * 10 + 410 == 266_610
    assert count("lenet5") == 431_080


def test_parameter_shapes(key):
    init_fn, _ = build("lenet5", 10, (28, 28, 1))
    assert jax.tree.map(jnp.shape, jax.eval_shape(init_fn, key)) == {
        "Conv_0": {"kernel": (5, 5, 1, 20), "bias": (20,)},
        "Conv_1": {"kernel": (5, 5, 20, 50), "bias": (50,)},
        "Dense_0": {"kernel": (800, 500), "bias": (500,)},
        "Dense_1": {"kernel": (500, 10), "bias": (10,)},
    }


@pytest.mark.parametrize("rectify", lenets.RECTIFICATIONS)
@pytest.mark.parametrize("conv", ["patches", "lax", "winograd"])
def test_lenet5_equals_the_numpy_reference(key, conv, rectify):
    init_fn, apply_fn = build("lenet5", 7, IMAGE, conv=conv, rectify=rectify)
    params = init_fn(key)
    x = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    expected = reference_lenet5(jax.tree.map(np.asarray, params), np.asarray(x))
    assert expected.shape == (3, 7)
    np.testing.assert_allclose(apply_fn(params, x), expected, rtol=1e-5, atol=1e-5)


def test_lenet300_equals_the_numpy_reference(key):
    init_fn, apply_fn = build("lenet300", 10, (8, 8, 1))
    params = init_fn(key)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    hidden = np.asarray(x).reshape(4, 64)
    for name in ("Dense_0", "Dense_1", "Dense_2"):
        layer = params[name]
        hidden = hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
        hidden = hidden if name == "Dense_2" else np.maximum(hidden, 0)
    np.testing.assert_allclose(apply_fn(params, x), hidden, rtol=1e-5, atol=1e-5)


def same_draw(one, other):
    """The same random bits, scaled by two programs: equal to rounding."""
    np.testing.assert_array_max_ulp(np.asarray(one), np.asarray(other), maxulp=4)


def test_both_convolutions_share_parameters_values_and_gradients(key):
    x = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    x = x.at[:, :9].set(0.0)  # blank regions: every pooling window there ties
    trees, outputs, gradients = [], [], []
    for conv in ("patches", "lax", "winograd"):
        init_fn, apply_fn = build("lenet5", 10, IMAGE, conv=conv)
        params = init_fn(key)

        def loss(params, x, apply_fn=apply_fn):
            return jax.nn.logsumexp(apply_fn(params, x), axis=1).sum()

        trees.append(params)
        outputs.append(apply_fn(params, x))
        gradients.append(jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x))
    for other in (1, 2):
        assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[other])
        jax.tree.map(same_draw, trees[0], trees[other])
        np.testing.assert_allclose(outputs[0], outputs[other], rtol=1e-5, atol=1e-5)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            gradients[0],
            gradients[other],
        )


def test_both_places_of_the_relu_share_parameters_and_gradients(key):
    x = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    trees, gradients = [], []
    for rectify in lenets.RECTIFICATIONS:
        init_fn, apply_fn = build("lenet5", 10, IMAGE, rectify=rectify)
        loss = lambda p, x, f=apply_fn: jax.nn.logsumexp(f(p, x), axis=1).sum()
        trees.append(init_fn(key))
        gradients.append(jax.jit(jax.grad(loss, argnums=(0, 1)))(trees[-1], x))
    jax.tree.map(same_draw, *trees)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *gradients
    )


@pytest.mark.parametrize("conv", ["patches", "lax", "winograd"])
def test_full_rectification_sees_the_whole_feature_maps(key, conv):
    x = jnp.zeros((1, 28, 28, 1))
    sizes = {}
    for rectify in lenets.RECTIFICATIONS:
        init_fn, apply_fn = models.build(
            "lenet5", 10, (28, 28, 1), conv=conv, rectify=rectify
        )
        entering = entering_relus(apply_fn, jax.eval_shape(init_fn, key), x)
        sizes[rectify] = [math.prod(shape) for shape, _ in entering]
    assert sizes["full"] == [20 * 24 * 24, 50 * 8 * 8, 500] == [11520, 3200, 500]
    assert sizes["pooled"] == [2880, 800, 500]


def test_phases_are_the_convolution_at_even_and_odd_places(key):
    x = jax.random.normal(key, (2, 9, 8, lenets.NARROW))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, lenets.NARROW, 4))
    full = reference_convolve(np.asarray(x), np.asarray(kernel))[:, :6, :6]
    expected = full.reshape(2, 3, 2, 3, 2, 4).transpose(0, 2, 4, 1, 3, 5)
    for method in ("patches", "lax", "winograd"):
        phases = lenets.convolve_phases(x, kernel, method)
        np.testing.assert_allclose(
            phases, expected.reshape(2, 4, 3, 3, 4), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("method", ["patches", "lax", "winograd"])
@pytest.mark.parametrize(
    ("shape", "size"), [((7, 9, 1), 3), ((6, 7, 3), 5), ((8, 10, 9), 3), ((3, 2, 1), 1)]
)
def test_convolve_pool(key, method, shape, size):
    x = jax.random.normal(key, (2, *shape))
    kernel = jax.random.normal(jax.random.key(1), (size, size, shape[-1], 4))
    np.testing.assert_allclose(
        convolve_pool(x, kernel, method),
        reference_pool(reference_convolve(np.asarray(x), np.asarray(kernel))),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("narrow", [0, 100])
def test_either_way_of_cutting_windows_serves_any_image(key, monkeypatch, narrow):
    monkeypatch.setattr(lenets, "NARROW", narrow)
    x = jax.random.normal(key, (2, 9, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    np.testing.assert_allclose(
        convolve_pool(x, kernel, "patches"),
        reference_pool(reference_convolve(np.asarray(x), np.asarray(kernel))),
        rtol=1e-5,
        atol=1e-5,
    )


def test_convolve_pool_chooses_patches_on_a_cpu():
    x, kernel = jnp.ones((1, 6, 6, 1)), jnp.ones((3, 3, 1, 2))
    trace = jax.make_jaxpr(lenets.convolve_pool, static_argnums=2)
    program = {method: str(trace(x, kernel, method)) for method in layers.CONVOLUTIONS}
    assert jax.default_backend() == "cpu"
    assert program["auto"] == program["patches"]
    assert lenets.fastest() == "winograd"
    assert "dot_general" in program["auto"]
    assert "conv_general_dilated" in program["lax"]


def test_kernel_reaches_the_product_through_reshape_and_transpose_alone():
    """The sensitivity finds a kernel where it is multiplied; keep it in sight."""
    x, kernel = jnp.ones((1, 10, 10, 2)), jnp.ones((5, 5, 2, 3))
    trace = jax.make_jaxpr(lenets.convolve_pool, static_argnums=2)
    jaxpr = trace(x, kernel, "patches").jaxpr
    seen = {jaxpr.invars[1]}
    for equation in jaxpr.eqns:
        if seen & {v for v in equation.invars if not hasattr(v, "val")}:
            name = equation.primitive.name
            assert name in ("reshape", "transpose", "dot_general")
            if name == "dot_general":
                return
            seen |= set(equation.outvars)
    raise AssertionError("the kernel meets no product")


@pytest.mark.parametrize("method", ["patches", "lax", "winograd"])
def test_gradient_goes_to_the_maximum_and_is_shared_at_ties(method):
    x = jnp.array([[1.0, 5.0, 2.0, 2.0], [0.0, 3.0, 2.0, 1.0]]).reshape(1, 2, 4, 1)
    pool = lambda x: convolve_pool(x, jnp.ones((1, 1, 1, 1)), method).sum()
    third = np.float32(1 / 3)
    wanted = np.array([[0, 1, third, third], [0, 0, third, 0]], np.float32)
    slope = jax.grad(pool)(x)[0, :, :, 0]
    # A third may be a product with a reciprocal; zeros stay exact.
    np.testing.assert_array_max_ulp(np.asarray(slope), wanted, maxulp=2)


@pytest.mark.parametrize("method", ["patches", "lax"])
def test_what_is_not_a_number_stays_so(key, method):
    x = jax.random.normal(key, (1, 4, 4, 1)).at[0, 1, 2, 0].set(jnp.nan)
    pooled = convolve_pool(x, jnp.ones((1, 1, 1, 1)), method)
    np.testing.assert_array_equal(
        jnp.isnan(pooled)[0, :, :, 0], [[False, True], [False, False]]
    )


@pytest.mark.parametrize(
    ("image", "size", "method", "message"),
    [
        ((8, 8), 4, "auto", "kernel: expected an odd side"),
        ((8, 5), 5, "auto", "kernel: expected an odd side below that of the images"),
        ((8, 8), 3, "fft", "conv: expected one of auto, patches, lax, winograd"),
    ],
)
def test_convolve_pool_refuses(image, size, method, message):
    x, kernel = jnp.ones((1, *image, 2)), jnp.ones((size, size, 2, 3))
    with pytest.raises(ValueError, match=message):
        lenets.convolve_pool(x, kernel, method)


def test_forward_over_reverse_equals_a_difference_of_gradients(key):
    with jax.enable_x64(True):
        layer = lenets.ConvolvePool(3, conv="patches")
        x = jax.random.normal(key, (2, 8, 8, 2), jnp.float64)
        kernel = jax.random.normal(key, (5, 5, 2, 3), jnp.float64)
        direction = jnp.cos(kernel)

        @jax.jit
        def gradient(kernel):
            params = {"kernel": kernel, "bias": jnp.full(3, 0.1)}
            loss = lambda p: (layer.apply({"params": p}, x) ** 4).sum()
            return jax.grad(loss)(params)["kernel"]

        product = jax.jvp(gradient, (kernel,), (direction,))[1]
        size = 1e-6
        ahead, behind = (
            gradient(kernel + size * direction),
            gradient(kernel - size * direction),
        )
        np.testing.assert_allclose(product, (ahead - behind) / (2 * size), rtol=1e-5)


def test_uniform_initialiser_fills_its_range_and_no_more(key):
    init_fn, _ = build("lenet5", 10, (28, 28, 1))
    params = init_fn(key)
    fan_in = {"Conv_0": 25, "Conv_1": 500, "Dense_0": 800, "Dense_1": 500}
    for name, inputs in fan_in.items():
        for leaf in params[name].values():
            bound = 1 / math.sqrt(inputs)
            assert 0.5 * bound < float(jnp.abs(leaf).max()) <= bound
    kernel = params["Dense_0"]["kernel"]
    # 400,000 draws: the standard error of the variance is 0.2 %.
    np.testing.assert_allclose(kernel.var(), 1 / (3 * 800), rtol=0.01)


def test_lecun_initialiser(key):
    init_fn, _ = build("lenet300", 10, (28, 28, 1), initialiser="lecun")
    layer = init_fn(key)["Dense_0"]
    np.testing.assert_allclose(layer["kernel"].var(), 1 / 784, rtol=0.02)
    np.testing.assert_array_equal(layer["bias"], 0.0)

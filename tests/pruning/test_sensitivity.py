import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning import _contract, _sensitivity, taps
from pruning._output_weights import specific, unspecific
from pruning._sensitivity import insensitivity, sensitivity
from synaptax.nets import models
from tests.pruning.networks import CASES, Case, draw

RELATIVE = {"float32": 1e-5, "float64": 1e-10}


def worst(found, wanted) -> float:
    """Return the largest difference of a leaf, relative to its largest value."""
    return max(
        float(jnp.abs(f - w).max() / (jnp.abs(w).max() + 1e-30))
        for f, w in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    )


def combinations(case: Case, dtype):
    """Return keyword sets that between them use every path, in few compilations."""
    batch = jax.tree.leaves(case.x)[0].shape[0]
    labels = jnp.arange(batch) % case.classes
    rows = jax.random.uniform(jax.random.key(9), (batch, case.classes), dtype)
    own = specific(labels, case.classes).astype(dtype)
    if dtype == "float64":
        return [{"alpha": rows, "reduction": "mean_abs"}]
    return [
        {"alpha": unspecific(case.classes), "reduction": "mean_abs"},
        {"alpha": own, "reduction": "mean_abs", "support": 1},
        {"alpha": rows, "reduction": "abs_mean"},
        {"alpha": own, "reduction": "abs_mean", "support": 1},
    ]


def compare(case: Case, dtype, tolerance: float) -> None:
    options = combinations(case, dtype)

    def every(method):
        def run(params, x):
            return [
                sensitivity(case.apply_fn, params, x, method=method, **option)
                for option in options
            ]

        return jax.jit(run)(case.params, case.x)

    for found, wanted in zip(every("taps"), every("reference"), strict=True):
        assert worst(found, wanted) < tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_taps_equal_the_reference(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        compare(CASES[name](dtype), dtype, RELATIVE[dtype])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet300", {}),
        ("lenet5", {"conv": "patches"}),
        pytest.param("lenet5", {"conv": "lax"}, marks=pytest.mark.slow),
    ],
)
def test_taps_equal_the_reference_on_the_lenets(name, options):
    init, apply = models.build(name, 10, (28, 28, 1), **options)
    for dtype, tolerance in RELATIVE.items():
        with jax.enable_x64(dtype == "float64"):
            params = jax.tree.map(
                lambda leaf, dtype=dtype: leaf.astype(dtype), init(jax.random.key(0))
            )
            x = draw(1, 4, 28, 28, 1, dtype=dtype)
            alpha = unspecific(10)
            found, wanted = jax.jit(
                lambda p, x, alpha=alpha: (
                    sensitivity(apply, p, x, alpha),
                    sensitivity(apply, p, x, alpha, method="reference"),
                )
            )(params, x)
            assert worst(found, wanted) < tolerance


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_chunks_do_not_change_the_sum(chunk):
    with jax.enable_x64(True):  # float32 rounds a sum by its order, and by machine
        case = CASES["convolutions"]("float64")
        alpha = unspecific(3)
        whole = sensitivity(case.apply_fn, case.params, case.x, alpha, chunk=5)
        parts = sensitivity(case.apply_fn, case.params, case.x, alpha, chunk=chunk)
        assert worst(parts, whole) < 1e-12


def test_a_rearranged_kernel_keeps_the_fast_way():
    turned = lambda p, x: x @ p["w"].T.reshape(4, 3)
    program = taps.trace(turned, {"w": jnp.ones((3, 4))}, jnp.ones((5, 4)), batch=1)
    (leaf,) = _contract.plan(program)
    assert leaf.operand is not None and leaf.row is not None


def test_a_chunk_fits_its_memory_and_wastes_little(monkeypatch):
    program = taps.trace(APPLY, PARAMS, X, batch=1)
    plans = _contract.plan(program)
    chunk = lambda batch: _sensitivity._chunk(program, plans, 2, batch)
    assert chunk(10**5) == 10**5  # 24 bytes an example: 3 outputs, 2 passes
    monkeypatch.setattr(_sensitivity, "_CHUNK_BYTES", {"cpu": 150, "other": 1 << 40})
    assert [chunk(batch) for batch in (5, 6, 7, 10, 12)] == [5, 6, 6, 5, 6]
    monkeypatch.setattr(_sensitivity, "_CHUNK_BYTES", {"cpu": 1, "other": 1 << 40})
    assert chunk(12) == 1


def test_float64_networks_keep_the_digits_of_float32_alpha():
    with jax.enable_x64(True):
        w, x = {"w": jnp.zeros((2, 3))}, draw(1, 7, 2, dtype="float64")
        alpha = unspecific(3)
        share = jnp.abs(x).mean(0)[:, None] * alpha[None].astype("float64")
        for reduction in ("mean_abs", "abs_mean"):
            found = sensitivity(APPLY, w, jnp.abs(x), alpha, reduction=reduction)
            np.testing.assert_allclose(found["w"], share, rtol=1e-14)


def test_linear_network_by_hand():
    # y = x w: |dy_k/dw_ij| = |x_i| where j = k, so S_ij = alpha_j mean_b |x_bi|.
    w = jnp.zeros((2, 3))
    x = jnp.array([[1.0, -2.0], [3.0, 4.0]])
    alpha = jnp.array([0.5, 1.0, 2.0])
    found = sensitivity(lambda w, x: x @ w, w, x, alpha)
    np.testing.assert_allclose(found, [[1.0, 2.0, 4.0], [1.5, 3.0, 6.0]], rtol=1e-6)
    # After the mean: |mean_b x_b| = (2, 1).
    found = sensitivity(lambda w, x: x @ w, w, x, alpha, reduction="abs_mean")
    np.testing.assert_allclose(found, [[1.0, 2.0, 4.0], [0.5, 1.0, 2.0]], rtol=1e-6)


def test_mean_of_absolute_values_is_the_larger():
    case = CASES["mlp"]("float32")
    run = lambda reduction: sensitivity(
        case.apply_fn, case.params, case.x, unspecific(3), reduction=reduction
    )
    above = jax.tree.map(lambda a, b: a - b, run("mean_abs"), run("abs_mean"))
    assert min(float(leaf.min()) for leaf in jax.tree.leaves(above)) > -1e-6


def test_leaves_keep_their_dtype_and_sum_in_float32():
    case = CASES["mlp"]("float32")
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), case.params)
    half["w"] = case.params["w"]
    x = case.x

    def apply(p, x):
        h = jax.nn.relu(x @ p["w"]).astype(jnp.bfloat16) + p["b"][None]
        return h @ p["v"] + p["c"][None]

    found = sensitivity(apply, half, x, unspecific(3))
    assert {k: v.dtype for k, v in found.items()} == {
        "w": jnp.float32,
        "b": jnp.bfloat16,
        "v": jnp.bfloat16,
        "c": jnp.bfloat16,
    }
    wanted = sensitivity(apply, half, x, unspecific(3), method="reference")
    assert worst(found, wanted) < 0.05


def test_integer_and_unused_leaves_get_zeros():
    params = {"w": draw(1, 4, 3), "step": jnp.array(3), "idle": draw(2, 5)}
    found = sensitivity(lambda p, x: x @ p["w"], params, draw(3, 6, 4), unspecific(3))
    assert found["step"].dtype == jnp.int32 and int(found["step"]) == 0
    assert not found["idle"].any() and found["w"].all()


def test_output_that_ignores_x():
    params = {"b": jnp.array([1.0, -2.0])}
    x = draw(1, 3, 4)
    apply = lambda p, x: jnp.broadcast_to(p["b"] ** 2, (x.shape[0], 2))
    found = sensitivity(apply, params, x, jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(found["b"], [2.0, 4.0], rtol=1e-6)


def test_inputs_may_be_a_tree():
    params = draw(1, 4, 3)
    x = {"a": draw(2, 6, 4), "scale": draw(3, 6)}
    apply = lambda p, x: (x["a"] * x["scale"][:, None]) @ p
    found = sensitivity(apply, params, x, unspecific(3))
    wanted = sensitivity(apply, params, x, unspecific(3), method="reference")
    assert worst(found, wanted) < 1e-6


def test_one_compilation_and_vmap_over_networks():
    case = CASES["mlp"]("float32")
    count = 0

    @jax.jit
    def run(params, x):
        nonlocal count
        count += 1
        return sensitivity(case.apply_fn, params, x, unspecific(3))

    singles = []
    stack = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), case.params)
    for i in range(2):
        singles.append(run(jax.tree.map(lambda leaf, i=i: leaf[i], stack), case.x))
    assert count == 1
    many = jax.vmap(lambda p: sensitivity(case.apply_fn, p, case.x, unspecific(3)))(
        stack
    )
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *singles)
    assert worst(many, both) < 1e-6


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_random_architectures(data):
    """Draw a small network of convolutions and dense layers; compare in float64."""
    pick = lambda *options: data.draw(st.sampled_from(options))
    with jax.enable_x64(True):
        x = draw(pick(1, 2, 3), pick(2, 5), 6, 5, 2, dtype="float64")
        act = pick(jax.nn.relu, jnp.tanh, jax.nn.silu, jnp.abs)
        params, layers = {}, []
        h = x
        for i in range(pick(0, 1, 2)):
            groups, size, width = pick(1, 2), pick(1, 2), pick(2, 4)
            strides, dilation = pick((1, 1), (2, 1)), pick((1, 1), (1, 2))
            params[f"k{i}"] = draw(
                10 + i, size, size, h.shape[-1] // groups, width, dtype="float64"
            )
            bias = pick(True, False)
            if bias:
                params[f"b{i}"] = draw(20 + i, width, dtype="float64")

            def layer(p, h, i=i, g=groups, s=strides, d=dilation, bias=bias):
                h = jax.lax.conv_general_dilated(
                    h,
                    p[f"k{i}"],
                    s,
                    "SAME",
                    rhs_dilation=d,
                    feature_group_count=g,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                return act(h + p[f"b{i}"].reshape(1, 1, 1, -1) if bias else h)

            layers.append(layer)
            h = layer(params, h)
        pool = pick(True, False)
        flat = h.mean((1, 2)) if pool else h.reshape(h.shape[0], -1)
        params["v"] = draw(30, flat.shape[1], 3, dtype="float64")

        def apply(p, x):
            for layer in layers:
                x = layer(p, x)
            x = x.mean((1, 2)) if pool else x.reshape(x.shape[0], -1)
            return x @ p["v"]

        alpha = jax.random.uniform(jax.random.key(3), (3,), "float64")
        chunk = pick(None, 2)
        found, wanted = jax.jit(
            lambda p, x: (
                sensitivity(apply, p, x, alpha, chunk=chunk),
                sensitivity(apply, p, x, alpha, method="reference"),
            )
        )(params, x)
        assert worst(found, wanted) < 1e-10


def test_insensitivity_is_bounded():
    found = insensitivity({"w": jnp.array([0.0, 0.25, 1.0, 7.0])})
    np.testing.assert_array_equal(found["w"], [1.0, 0.75, 0.0, 0.0])


# --- bad input -------------------------------------------------------------------

APPLY = lambda p, x: x @ p["w"]
PARAMS = {"w": jnp.ones((4, 3))}
X = jnp.ones((5, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity(APPLY, PARAMS, X, jnp.ones(4)), r"alpha: expected shape"),
        (lambda: sensitivity(APPLY, PARAMS, X, jnp.ones((4, 3))), r"alpha: expected"),
        (lambda: sensitivity(APPLY, PARAMS, X, -jnp.ones(3)), r"alpha: .*non-negative"),
        (
            lambda: sensitivity(APPLY, PARAMS, X, jnp.array([1.0, jnp.nan, 1.0])),
            r"alpha: .*finite",
        ),
        (
            lambda: sensitivity(
                APPLY, {"w": PARAMS["w"].at[0, 0].set(jnp.nan)}, X, jnp.ones(3)
            ),
            r"params: leaf w has a value that is not finite",
        ),
        (
            lambda: sensitivity(APPLY, PARAMS, jnp.float32(1), jnp.ones(3)),
            r"x: expected a leading batch axis",
        ),
        (
            lambda: sensitivity(lambda p, x: (x @ p["w"])[0], PARAMS, X, jnp.ones(3)),
            r"apply_fn: expected one output of shape \(B, C\)",
        ),
        (
            lambda: sensitivity(APPLY, PARAMS, X, jnp.ones(3), reduction="mean"),
            r"reduction: expected",
        ),
        (
            lambda: sensitivity(APPLY, PARAMS, X, jnp.ones(3), method="fast"),
            r"method: expected",
        ),
        (
            lambda: sensitivity(APPLY, PARAMS, X, jnp.ones(3), support=0),
            r"support: expected a positive integer",
        ),
        (
            lambda: sensitivity(APPLY, PARAMS, X, jnp.ones(3), chunk=-1),
            r"chunk: expected a positive integer",
        ),
        (lambda: specific(jnp.array([0, 3]), 3), r"labels: 3 is not in \[0, 3\)"),
        (lambda: specific(jnp.array([0, -1]), 3), r"labels: -1 is not in"),
        (lambda: specific(jnp.array([0.0]), 3), r"labels: expected integers"),
        (lambda: unspecific(0), r"classes: expected a positive integer"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


@pytest.mark.parametrize(
    "mix",
    [
        lambda p, x: (x - x.mean(0, keepdims=True)) @ p["w"],
        lambda p, x: jax.nn.softmax((x @ p["w"]).T).T,
        lambda p, x: (x @ x.T) @ (x @ p["w"]),
        lambda p, x: jnp.cumsum(x @ p["w"], axis=0),
    ],
    ids=["centred", "softmax over the batch", "attention over it", "cumsum"],
)
def test_mixed_examples_are_an_error(mix):
    with pytest.raises(ValueError, match="mixes the examples"):
        sensitivity(mix, PARAMS, X, unspecific(3))
    # After the mean there is nothing to keep apart.
    sensitivity(mix, PARAMS, X, unspecific(3), reduction="abs_mean")

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from pruning import preactivations
from synaptax.nets import models
from tests.pruning.networks import draw

W, X = draw(1, 3, 4), draw(2, 5, 3)


def exact_gelu(z):
    return jax.nn.gelu(z, approximate=False)


ENTRIES = {
    "relu": ("relu", jax.nn.relu),
    "relu6": ("relu", jax.nn.relu6),
    "maximum": ("relu", lambda z: jnp.maximum(z, 0)),
    "maximum_zeros_first": ("relu", lambda z: jnp.maximum(jnp.zeros_like(z), z)),
    "lax_max": ("relu", lambda z: lax.max(z, 0.0)),
    "clip": ("relu", lambda z: jnp.clip(z, 0, 1)),
    "leaky_relu": ("leaky_relu", lambda z: jax.nn.leaky_relu(z, 0.1)),
    "gelu": ("gelu", jax.nn.gelu),
    "exact_gelu": ("gelu", exact_gelu),
    "silu": ("silu", jax.nn.silu),
    "silu_by_hand": ("silu", lambda z: z * jax.nn.sigmoid(z)),
    "elu": ("elu", jax.nn.elu),
    "tanh": ("tanh", jnp.tanh),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_each_kind_is_recognised_and_its_input_handed_out(name):
    kind, function = ENTRIES[name]
    apply = lambda w, x: function(x @ w)
    y, zs = jax.jit(preactivations(apply))(W, X)
    assert list(zs) == [f"{kind}_0", "logits"]
    np.testing.assert_allclose(zs[f"{kind}_0"], X @ W, rtol=1e-6)
    np.testing.assert_allclose(y, function(X @ W), rtol=1e-6)
    np.testing.assert_array_equal(zs["logits"], y)
    others = [k for k, _ in ENTRIES.values() if k != kind]
    with pytest.raises(ValueError, match="found no"):
        preactivations(apply, nonlinearities=others)(W, X)


WRAPPED = {
    "jit": lambda layer: jax.jit(layer),
    "jit_in_jit": lambda layer: jax.jit(jax.jit(layer)),
    "remat": lambda layer: jax.checkpoint(layer),
    "vmap": lambda layer: jax.vmap(layer, in_axes=(None, 0)),
    "remat_of_vmap": lambda layer: jax.checkpoint(jax.vmap(layer, in_axes=(None, 0))),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("function", [jax.nn.relu, jax.nn.gelu, jax.nn.silu])
def test_it_sees_through_wrappers_and_gradients_flow(name, function):
    layer = WRAPPED[name](lambda w, x: function(x @ w))
    tapped = preactivations(lambda w, x: layer(w, x) * 2, logits=False)

    def total(w):
        return (tapped(w, X)[1][f"{function.__name__}_0"] ** 2).sum()

    np.testing.assert_allclose(jax.grad(total)(W), 2 * X.T @ (X @ W), rtol=1e-5)


def test_vmap_and_jit_around_it_and_captured_values():
    @jax.jit
    def members(ws, scale):
        return jax.vmap(
            lambda w: preactivations(lambda w, x: jax.nn.relu(x @ w) * scale)(w, X)
        )(ws)

    y, zs = members(jnp.stack([W, -W]), jnp.float32(3))
    np.testing.assert_allclose(zs["relu_0"], jnp.stack([X @ W, -X @ W]), rtol=1e-5)
    np.testing.assert_allclose(y[1], 3 * jax.nn.relu(-X @ W), rtol=1e-5)


class Trained(nn.Module):
    """A residual block in training mode: batch statistics, dropout."""

    @nn.compact
    def __call__(self, x):
        self.sow("z", "first", z := nn.BatchNorm(False)(nn.Dense(3)(x)))
        h = nn.Dropout(0.5, deterministic=False)(nn.relu(z))
        h = x + nn.BatchNorm(False)(nn.Dense(3)(h))
        self.sow("z", "second", h)
        return nn.Dense(2)(nn.relu(nn.LayerNorm()(nn.relu(h))))


def test_training_mode_after_batch_norm_and_residual_sum_with_aux_and_keys():
    model = Trained()
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = model.init(rngs, X)
    held = {"batch_stats": variables["batch_stats"]}

    def apply(params, x, key):
        return model.apply(
            {"params": params, **held},
            x,
            rngs={"dropout": key},
            mutable=["batch_stats", "z"],
        )

    key = jax.random.key(7)
    tapped = jax.jit(preactivations(apply, has_aux=True))
    y, zs, aux = tapped(variables["params"], X, key)
    wanted, kept = jax.jit(apply)(variables["params"], X, key)
    # The guards max(variance, 0) of the three norms are no neurons.
    assert list(zs) == ["relu_0", "relu_1", "relu_2", "logits"]
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_allclose(zs["relu_0"], kept["z"]["first"][0], rtol=1e-6)
    np.testing.assert_allclose(zs["relu_1"], kept["z"]["second"][0], rtol=1e-6)
    jax.tree.map(np.testing.assert_allclose, aux, kept)


def test_an_nnx_network():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.inner, self.out = (
                nnx.Linear(3, 4, rngs=rngs),
                nnx.Linear(4, 2, rngs=rngs),
            )

        def __call__(self, x):
            return self.out(nnx.relu(self.inner(x)))

    net = Net(nnx.Rngs(0))
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    tapped = preactivations(lambda p, x: nnx.merge(graph, p, rest)(x))
    y, zs = jax.jit(tapped)(params, X)
    np.testing.assert_allclose(zs["relu_0"], net.inner(X), rtol=1e-6)
    np.testing.assert_allclose(y, net(X), rtol=1e-6)


def test_paths_are_the_modules_and_keep_their_order_through_jit():
    init_fn, apply_fn = models.build("lenet5", 10, (16, 16, 1))
    params, x = jax.eval_shape(init_fn, jax.random.key(0)), jnp.zeros((2, 16, 16, 1))
    _, zs = jax.eval_shape(jax.jit(preactivations(apply_fn)), params, x)
    assert list(zs) == ["Conv_0/relu_0", "Conv_1/relu_0", "relu_0", "logits"]
    many = lambda w, x: [x := jnp.tanh(x @ w) for _ in range(12)][-1]
    _, zs = jax.eval_shape(
        jax.jit(preactivations(many, logits=False)), jnp.eye(3), jnp.ones((2, 3))
    )
    assert list(zs) == [f"tanh_{n}" for n in range(12)]


@jax.custom_vjp
def ruled(z):
    return jnp.tanh(z)


ruled.defvjp(lambda z: (jnp.tanh(z), z), lambda z, g: (g,))

HIDDEN = {
    "scan": lambda z: lax.scan(lambda c, _: (jax.nn.relu(c), None), z, length=2)[0],
    "while": lambda z: lax.fori_loop(
        0, jnp.int32(z[0, 0] * 0 + 2), lambda i, c: jnp.maximum(c, 0), z
    ),
    "cond": lambda z: lax.cond(z[0, 0] > 0, jax.nn.gelu, lambda c: c, z),
    "custom_vjp_call": ruled,
    "scan_": lambda z: lax.map(lambda r: jax.jit(jax.nn.silu)(r), z),
    "scan__": lambda z: lax.scan(lambda c, _: (jax.nn.softplus(c), 0), z, length=2)[0],
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_one_is_an_error_that_names_where(name):
    with pytest.raises(ValueError, match=rf"inside {name.strip('_')}, whose values"):
        preactivations(lambda w, x: jax.nn.relu(HIDDEN[name](x @ w)))(W, X)


def test_what_is_no_neuron_is_left_out():
    def apply(w, x):
        z = x @ w
        scale = jnp.sqrt(jnp.maximum((z**2).mean(0, keepdims=True), 0) + 1e-6)
        mask = jax.nn.relu(w).sum(0, keepdims=True)  # of the weights alone
        z = jnp.sin(z) / scale + jnp.maximum(z, 1)  # no known kind
        z = checkpoint_name(z, "silu")  # a name that only looks like one
        return jax.nn.relu(z) * mask

    assert list(preactivations(apply)(W, X)[1]) == ["relu_0", "logits"]


@pytest.mark.parametrize(
    ("options", "apply", "text"),
    [
        ({"nonlinearities": ("rleu",)}, jnp.dot, "nonlinearities: unknown 'rleu'"),
        ({}, lambda w, x: x @ w, "found no relu or leaky_relu"),
        ({}, lambda w, x: {"y": jax.nn.relu(x @ w)}, "logits: expected one array"),
        ({"nonlinearities": "tanh"}, lambda w, x: jax.nn.relu(x @ w), "found no tanh"),
    ],
)
def test_bad_input_is_one_clear_error(options, apply, text):
    with pytest.raises(ValueError, match=text):
        preactivations(apply, **options)(W, X)


def test_logits_may_be_left_out_or_taken_out_of_anything():
    apply = lambda w, x: {"y": jax.nn.relu(x @ w) @ w.T, "other": x}
    result, zs = preactivations(apply, logits=lambda out: out["y"])(W, X)
    np.testing.assert_array_equal(zs["logits"], result["y"])
    assert list(preactivations(apply, logits=False)(W, X)[1]) == ["relu_0"]


def test_probes_give_the_cotangent_and_are_checked():
    v = draw(3, 4, 2)
    tapped = preactivations(lambda w, x: jnp.tanh(x @ w) @ v)

    def output(probe):
        y, zs = tapped(W, X, probes={"tanh_0": probe})
        return y[:, 1].sum(), zs["tanh_0"]

    zero = jnp.zeros((5, 4))
    cotangent, z = jax.grad(output, has_aux=True)(zero)
    wanted = (1 - jnp.tanh(X @ W) ** 2) * v[None, :, 1]
    np.testing.assert_allclose(cotangent, wanted, rtol=1e-5)
    np.testing.assert_allclose(output(zero + 1)[1], z + 1, rtol=1e-6)
    with pytest.raises(ValueError, match="probes: unknown path 'relu_0'"):
        tapped(W, X, probes={"relu_0": zero})
    with pytest.raises(ValueError, match="probes: tanh_0 is float32"):
        tapped(W, X, probes={"tanh_0": zero[:2]})


def test_local_values_are_the_same_and_reach_their_own_weights_only():
    params = {"a": W, "b": draw(3, 4, 4), "c": draw(4, 4, 2)}

    def apply(p, x):
        h = jax.nn.relu(x @ p["a"])
        return jax.nn.relu(h @ p["b"] + h) @ p["c"]

    whole, local = preactivations(apply), preactivations(apply, local=True)
    # Two programs, which may be fused differently: equal to rounding.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    jax.tree.map(close, local(params, X), whole(params, X))
    reached = {
        path: [
            name
            for name, slope in jax.grad(
                lambda p, path=path: (local(p, X)[1][path] ** 2).sum()
            )(params).items()
            if slope.any()
        ]
        for path in ("relu_0", "relu_1", "logits")
    }
    assert reached == {"relu_0": ["a"], "relu_1": ["b"], "logits": ["c"]}
    y = lambda tapped: jax.grad(lambda p: tapped(p, X)[0].sum())(params)
    jax.tree.map(close, y(local), y(whole))

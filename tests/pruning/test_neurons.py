"""Which non-linearities are neurons, and what their pre-activation is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import pruning
from pruning import preactivation_table, preactivations, psp_regularization, with_psp
from tests.pruning.networks import draw

W, X, V = draw(1, 3, 4), draw(2, 5, 3), draw(3, 4, 2)
TENTH = jnp.float32(0.1)

# Whatever the form, the pre-activation is x @ w itself.
FORMS = {
    "hard_swish": ("hard_swish", jax.nn.hard_swish),
    "hard_swish by hand": ("hard_swish", lambda z: z * jax.nn.relu6(z + 3) / 6),
    "clipped hard_swish": ("hard_swish", lambda z: z * jnp.clip(z + 3, 0, 6) / 6),
    "hard_sigmoid": ("hard_sigmoid", jax.nn.hard_sigmoid),
    "hard_tanh": ("hard_tanh", jax.nn.hard_tanh),
    "clip about 0": ("hard_tanh", lambda z: jnp.clip(z, -1, 1)),
    "mish": ("mish", jax.nn.mish),
    "mish by hand": ("mish", lambda z: z * jnp.tanh(jax.nn.softplus(z))),
    "mish by logs": ("mish", lambda z: z * jnp.tanh(jnp.log1p(jnp.exp(z)))),
    "quick gelu": ("silu", lambda z: z * jax.nn.sigmoid(1.702 * z)),
    "leaky by where": ("leaky_relu", lambda z: jnp.where(z > 0, z, TENTH * z)),
    "leaky by where <": ("leaky_relu", lambda z: jnp.where(z < 0, TENTH * z, z)),
    "leaky by maximum": ("leaky_relu", lambda z: jnp.maximum(z, TENTH * z)),
    "leaky the other way": ("leaky_relu", lambda z: jnp.maximum(TENTH * z, z)),
    "relu by where": ("relu", lambda z: jnp.where(z > 0, z, 0)),
    "relu by a switch": ("relu", lambda z: z * (z > 0).astype(z.dtype)),
    "relu of -z": ("relu", lambda z: jnp.minimum(z, 0)),
    "squared relu": ("relu", lambda z: jax.nn.relu(z) * z),
    "softplus": ("softplus", jax.nn.softplus),
    "softplus by hand": ("softplus", lambda z: jnp.log1p(jnp.exp(z))),
    "softplus by log": ("softplus", lambda z: jnp.log(1 + jnp.exp(z))),
    "softplus by logaddexp": ("softplus", lambda z: jnp.logaddexp(z, 0.0)),
    "log_sigmoid": ("softplus", jax.nn.log_sigmoid),
    "sigmoid": ("sigmoid", jax.nn.sigmoid),
    "elu by where": ("elu", lambda z: jnp.where(z > 0, z, jnp.expm1(z))),
    "celu": ("elu", jax.nn.celu),
    "selu": ("elu", jax.nn.selu),
    "soft_sign": ("soft_sign", jax.nn.soft_sign),
    "erf": ("erf", jax.lax.erf),
    "in two pieces": ("piecewise", lambda z: jnp.where(z > 1, z * z, -z)),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_pre_activation_is_the_value_itself_and_found_once(name):
    kind, function = FORMS[name]
    _, zs = preactivations(lambda w, x: function(x @ w), logits=False)(W, X)
    assert list(zs) == [f"{kind}_0"]
    np.testing.assert_allclose(zs[f"{kind}_0"], X @ W, rtol=1e-6)
    doubled = lambda w, x: function(2 * (x @ w)) @ V
    _, zs = preactivations(doubled, logits=False)(W, X)
    np.testing.assert_allclose(zs[f"{kind}_0"], 2 * (X @ W), rtol=1e-6)


@pytest.mark.parametrize("name", FORMS)
def test_none_is_missed_because_another_was_found(name):
    kind, function = FORMS[name]

    def apply(w, x):
        return jnp.sin(function(jax.nn.relu(x @ w[0]) @ w[1]))

    weights = [draw(4, 3, 4), draw(5, 4, 3)]
    _, zs = preactivations(apply, logits=False)(weights, X)
    assert list(zs) == ["relu_0", "relu_1" if kind == "relu" else f"{kind}_0"]


def test_the_gate_of_a_glu_is_found():
    _, zs = preactivations(lambda w, x: jax.nn.glu(x @ w), logits=False)(W, X)
    assert list(zs) == ["sigmoid_0"]
    np.testing.assert_allclose(zs["sigmoid_0"], (X @ W)[:, 2:], rtol=1e-6)


GUARDS = {
    "a safe root": lambda z: jnp.where(z > 0, jnp.sqrt(z), 0),
    "a safe quotient": lambda z: z / jnp.where(z > 0, z, 1),
    "a flag": lambda z: jnp.where(z > 0, 1.0, 0.0),
    "a mask": lambda z: jnp.where(jnp.isnan(z), 0, z),
    "a softmax": jax.nn.softmax,
    "a norm": lambda z: z / jnp.linalg.norm(z, axis=-1, keepdims=True),
    "a variance": lambda z: z / jnp.sqrt(jnp.maximum(z.var(0, keepdims=True), 0)),
}


@pytest.mark.parametrize("name", GUARDS)
def test_guards_are_no_neurons(name):
    apply = lambda w, x: jax.nn.relu(GUARDS[name](x @ w))
    assert list(preactivations(apply, logits=False)(W, X)[1]) == ["relu_0"]


PARAMS = {"w": W, "v": V}


def net(p, x):
    return jax.nn.relu(x @ p["w"]) @ p["v"]


Y = jnp.ones(5)
LOSSES = {
    "hinge": lambda p, x: optax.hinge_loss(net(p, x)[:, 0], Y).mean(),
    "clipped input": lambda p, x: net(p, jnp.clip(x, 0, 1)).mean(),
    "clipped about 0": lambda p, x: net(p, jnp.clip(x, -1, 1)).mean(),
    "relu of the input": lambda p, x: net(p, jax.nn.relu(x)).mean(),
    "a constraint": lambda p, x: (
        net(p, x).mean() + jnp.maximum(jnp.abs(p["w"]).sum() * x.mean() - 1, 0)
    ),
    "cross-entropy of a sigmoid": lambda p, x: optax.sigmoid_binary_cross_entropy(
        net(p, x)[:, 0], Y
    ).mean(),
    "huber": lambda p, x: optax.huber_loss(net(p, x)[:, 0], Y).mean(),
    "a learned weight of the loss": lambda p, x: (
        jnp.maximum(net(p, x)[:, 0] - 1, 0).mean() * p["v"][0, 0]
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_belongs_to_the_loss_or_the_input_is_left_out(name):
    _, info = with_psp(LOSSES[name], 1.0)(PARAMS, X)
    assert list(info.mean_squares) == ["relu_0"]
    np.testing.assert_allclose(
        info.mean_squares["relu_0"],
        jnp.mean((_input_of(name) @ W) ** 2),
        rtol=1e-5,
    )


def _input_of(name):
    return {
        "clipped input": jnp.clip(X, 0, 1),
        "clipped about 0": jnp.clip(X, -1, 1),
        "relu of the input": jax.nn.relu(X),
    }.get(name, X)


def test_what_cannot_be_told_is_refused_and_settled_by_name():
    ends_in_relu = lambda p, x: (jax.nn.relu(net(p, x)) ** 2).mean()
    with pytest.raises(ValueError, match=r"relu_1, a relu of float32\(5, 2\).*include"):
        with_psp(ends_in_relu, 1.0)(PARAMS, X)
    _, info = with_psp(ends_in_relu, 1.0, include="relu_1")(PARAMS, X)
    assert list(info.mean_squares) == ["relu_0", "relu_1"]
    _, info = with_psp(ends_in_relu, 1.0, exclude=("relu_1",))(PARAMS, X)
    assert list(info.mean_squares) == ["relu_0"]

    def with_logits(p, x):
        y = jax.nn.relu(net(p, x))
        return jnp.maximum(1 - y, 0).mean(), y

    tapped = with_psp(with_logits, 1.0, logits=lambda y: y, has_aux=True)
    _, info = tapped(PARAMS, X)
    assert list(info.mean_squares) == ["relu_0", "relu_1", "logits"]
    # The target is data that the network does not read.
    distance = lambda p, x, t: jnp.maximum(net(p, x) - t, 0).mean()
    _, info = with_psp(distance, 1.0)(PARAMS, X, jnp.ones((5, 2)))
    assert list(info.mean_squares) == ["relu_0"]


def test_the_table_lists_all_and_says_why():
    loss = lambda p, x: optax.hinge_loss(net(p, jnp.clip(x, 0, 1))[:, 0], Y).mean()
    table = preactivation_table(loss, PARAMS, X, loss=True)
    assert [(e.path, e.taken, e.shape) for e in table] == [
        ("relu_1", False, (5, 3)),
        ("relu_0", True, (5, 4)),
        ("relu_2", False, (5,)),
    ]
    assert [e.reason for e in table] == [
        "depends on no weight",
        "",
        "goes on to no weight: part of the loss",
    ]
    scanned = lambda w, x: lax.scan(lambda c, _: (jnp.tanh(c @ w), 0), x, length=2)[0]
    (hidden,) = preactivation_table(scanned, jnp.eye(3), X)
    assert hidden.path == "tanh_0" and hidden.refused and hidden.slot < 0
    both = lambda p, x: scanned(jnp.eye(3), jax.nn.relu(x @ p))
    _, zs = preactivations(both, exclude="tanh_0")(jnp.eye(3), X)
    assert list(zs) == ["relu_0", "logits"]


def test_a_value_may_be_named_in_the_network():
    def apply(p, x):
        z = checkpoint_name(x @ p["w"], "wave")
        again = checkpoint_name(2 * z, "wave")
        return (jnp.sin(z) + jnp.sin(again)) @ p["v"]

    with pytest.raises(ValueError, match="found no relu"):
        preactivations(apply)(PARAMS, X)
    _, zs = preactivations(apply, include="wave", logits=False)(PARAMS, X)
    assert list(zs) == ["wave", "wave_1"]
    np.testing.assert_allclose(zs["wave"], X @ W, rtol=1e-6)
    tx = psp_regularization(apply, 1.0, include=("wave",), exclude=("wave_1",))
    tx.update(PARAMS, tx.init(PARAMS), PARAMS, batch=X)
    for argument in ("include", "exclude"):
        with pytest.raises(ValueError, match=f"{argument}: no 'relu_7' is there"):
            preactivations(net, **{argument: ("relu_7",)})(PARAMS, X)


def test_complex_values_are_measured_by_their_modulus():
    w = lax.complex(draw(6, 3, 4), draw(7, 3, 4))
    apply = lambda p, x: jnp.abs(jnp.tanh(x.astype(p.dtype) @ p))
    _, zs = preactivations(apply, logits=False)(w, X)
    z = X.astype(w.dtype) @ w
    np.testing.assert_allclose(
        pruning.psp_penalty(zs), jnp.mean(jnp.abs(z) ** 2), rtol=1e-6
    )

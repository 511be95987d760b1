"""The bundled networks by name: their common face, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from synaptax.nets import models

IMAGE = (20, 18, 2)


def build(*arguments, **options):
    """Return a bundled network's functions, each compiled as a whole."""
    return tuple(jax.jit(f) for f in models.build(*arguments, **options))


@pytest.mark.parametrize("name", ["lenet300", "lenet5"])
def test_batch_of_one_under_vmap_equals_the_batch(key, name):
    init_fn, apply_fn = build(name, 5, IMAGE)
    params = init_fn(key)
    x = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    single = jax.vmap(lambda image: apply_fn(params, image[None])[0])(x)
    np.testing.assert_allclose(single, apply_fn(params, x), rtol=1e-5, atol=1e-6)


def close(found, wanted):
    """Compare what two programs computed, each with its own rounding."""
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_the_key_decides_the_parameters(key):
    init_fn, _ = build("lenet300", 10, (8, 8, 1))
    jax.tree.map(np.testing.assert_array_equal, init_fn(key), init_fn(key))
    other = init_fn(jax.random.key(1))["Dense_0"]["kernel"]
    assert not np.array_equal(init_fn(key)["Dense_0"]["kernel"], other)


def test_a_network_without_state_is_the_built_one(key):
    net = models.network("lenet5", 5, IMAGE, rectify="full")
    init_fn, apply_fn = models.build("lenet5", 5, IMAGE, rectify="full")
    params, stats = net.init(key)
    x = jax.random.normal(jax.random.key(1), (3, *IMAGE))
    assert stats == {} and not models.keeps_state(net)
    jax.tree.map(close, params, init_fn(key))
    logits, after = net.train(params, stats, x, key)
    assert after == {}
    close(net.apply(params, stats, x), apply_fn(params, x))
    close(logits, apply_fn(params, x))


def test_a_network_with_state_is_not_built(key):
    net = models.network("resnet20", 3, (8, 8, 3))
    assert models.keeps_state(net)
    with pytest.raises(ValueError, match="name: resnet20 keeps state"):
        models.build("resnet20", 3, (8, 8, 3))


def test_dropout_acts_in_training_alone_by_the_key_and_keeps_the_mean(key):
    net = models.network("lenet5", 4, (16, 16, 1), dropout=0.5)
    plain = models.network("lenet5", 4, (16, 16, 1))
    params, stats = net.init(key)
    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 1))
    calm = net.apply(params, stats, x)
    close(calm, plain.apply(params, stats, x))
    draw = jax.jit(lambda key: net.train(params, stats, x, key)[0])
    np.testing.assert_array_equal(draw(key), draw(key))
    draws = jax.vmap(draw)(jax.random.split(key, 400))
    error = draws.std(axis=0) / 20  # the standard error of a mean of 400
    assert (error > 0).all()
    assert (jnp.abs(draws.mean(axis=0) - calm) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "resnet"}, "name: unknown 'resnet', .* lenet300, lenet5, resnet20"),
        ({"classes": 1}, "classes: expected 2 or more"),
        ({"image_shape": (28, 28)}, "image_shape: expected .height, width, channels"),
        ({"image_shape": (28, 0, 1)}, "image_shape: expected .height, width, channels"),
        ({"image_shape": (8, 8, 1)}, "image_shape: lenet5 needs images of 16x16"),
        ({"conv": "fft"}, "conv: expected one of auto, patches, lax"),
        ({"rectify": "half"}, "rectify: expected one of pooled, full"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 1\), got 1.0"),
        ({"colour": 1}, "colour: lenet5 has no such option; it has conv, dropout"),
        ({"name": "lenet300", "rectify": "full"}, "rectify: lenet300 has no such"),
        ({"initialiser": "zeros"}, "initialiser: expected one of uniform, lecun"),
    ],
)
def test_a_bad_argument_is_named(change, message):
    arguments = {"name": "lenet5", "classes": 10, "image_shape": (28, 28, 1)}
    with pytest.raises(ValueError, match=message):
        models.build(**arguments | change)


@pytest.mark.parametrize(
    "x", [np.zeros((2, 8, 9, 1), np.float32), np.zeros((2, 8, 8, 1), np.uint8)]
)
def test_wrong_images_are_refused(key, x):
    init_fn, apply_fn = build("lenet300", 10, (8, 8, 1))
    with pytest.raises(ValueError, match=r"x: expected floats of shape \(B, 8, 8, 1\)"):
        apply_fn(init_fn(key), x)


class Linear(nn.Module):
    """A user's own network, without a ``train`` argument."""

    classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.classes)(x.reshape(x.shape[0], -1))


def linear(classes, image_shape, bias=True):
    assert bias
    return Linear(classes)


def test_a_network_of_ones_own_by_path_and_by_name(key, monkeypatch):
    monkeypatch.setattr(models, "_OWN", {})
    models.register("linear", linear)
    by_path = models.network(f"{__name__}:linear", 3, (4, 4, 1), bias=True)
    by_name = models.network("linear", 3, (4, 4, 1))
    x = jax.random.normal(key, (2, 4, 4, 1))
    params, stats = by_path.init(key)
    close(by_name.apply(params, stats, x), by_path.train(params, stats, x, key)[0])
    with pytest.raises(ValueError, match="x: expected floats of shape"):
        by_path.apply(params, stats, x[0])
    for taken in ("linear", "lenet5", "a:b"):
        with pytest.raises(ValueError, match=f"name: expected a new .*'{taken}'"):
            models.register(taken, linear)
    models.register("wrong", lambda classes, shape: 3)
    for name, message in {
        "wrong": "name: wrong made a int, expected a Network or a Flax",
        "nowhere.to:be": "name: there is no 'nowhere.to:be': No module named 'nowhere'",
        f"{__name__}:be": "name: there is no .*has no attribute 'be'",
        f"{__name__}:IMAGE": "name: .*IMAGE' is no function",
        ":be": "name: there is no ':be'",
    }.items():
        with pytest.raises(ValueError, match=message):
            models.network(name, 3, (4, 4, 1))

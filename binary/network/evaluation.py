"""What trained networks do: propagated, binarised, drawn, and packed."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from binary.network import artefact, model, objective, straight
from binary.network.config import Config
from synaptax import training
from synaptax.data.images import Batch, Dataset
from synaptax.training.evaluation import summed
from synaptax.typing import Array

_NORMED = 5000  # training examples whose statistics are folded in
_WHITE = {"digits": 16, "mnist": 255, "fashion_mnist": 255}  # the value of white


class Look(NamedTuple):
    """What a network does on a data set; errors are fractions.

    Attributes:
        propagated: error of the mean field.
        binarised: error of the mode of the weights with sign activations.
        overlaps: q* of each layer.
    """

    propagated: Array
    binarised: Array
    overlaps: dict[str, Array]


def look(layers: tuple[model.Layer, ...], params: Any, data: Batch) -> Look:
    """Return the errors of a network on a data set, and how certain its weights are."""
    weights = model.mode(params)

    def sums(part: Batch) -> tuple[Array, Array]:
        wrong = lambda field: (jnp.argmax(field, axis=-1) != part.label).sum()
        mean = model.propagate(layers, params, part.image).mean
        return wrong(mean), wrong(model.run_signs(layers, weights, part.image))

    propagated, binarised = summed(sums, data)
    share = lambda count: count.astype(jnp.float32) / data.label.shape[0]
    return Look(share(propagated), share(binarised), model.self_overlaps(params))


def served(
    config: Config, layers: tuple[model.Layer, ...], params: Any, train: Batch
) -> Any:
    """Return the parameters to evaluate: straight-through's with norms folded in."""
    if config.method != "straight-through":
        return params
    return straight.fold(layers, params, train.image[:_NORMED])


def ensemble_error(
    layers: tuple[model.Layer, ...], params: Any, data: Batch, key: Array, draws: int
) -> Array:
    """Return the error of the summed softmax of networks drawn from Q_m."""

    def sums(part: Batch) -> Array:
        def one(total: Array, key: Array) -> tuple[Array, None]:
            field = model.run_signs(layers, model.draw(params, key), part.image)
            width = objective.last_inputs(params)
            # model.logits at v = 0: drawn weights are certain.
            return total + jax.nn.softmax(field / (0.05 * width) ** 0.5), None

        start = jnp.zeros((part.label.shape[0], layers[-1].units))  # pyright: ignore
        total, _ = lax.scan(one, start, jax.random.split(key, draws))
        return (jnp.argmax(total, axis=-1) != part.label).sum()

    return summed(sums, data).astype(jnp.float32) / data.label.shape[0]


def packed(
    data: Dataset, layers: tuple[model.Layer, ...], params: Any
) -> artefact.Packed:
    """Return a binarised network for the raw pixels (whole numbers) of a data set."""
    return artefact.pack(layers, params, scale=1 / _unit(data))


def pixels_of(data: Dataset, image: Any) -> np.ndarray:
    """Return the raw pixels, int32, of images of :func:`dataset_of`."""
    # The product is the raw pixel, a whole number, but for the last digits of float32.
    return np.rint(np.asarray(image) * np.float32(_unit(data))).astype(np.int32)


def _unit(data: Dataset) -> float:
    """Return the raw value of a scaled pixel of 1."""
    return _WHITE[data.name] * data.std[0]


def flat(part: Batch) -> Batch:
    """Return examples whose images are vectors."""
    image = part.image.reshape(len(part.label), -1)
    return Batch(jnp.asarray(image), jnp.asarray(part.label))


def networks(
    config: Config, layers: tuple[model.Layer, ...], data: Dataset, replicas: Any
) -> list[dict[str, Any]]:
    """Return what each seed came to, on validation and test data."""
    parts = {"validation": flat(data.validation), "test": flat(data.test)}
    evaluate = jax.jit(partial(look, layers))
    error_of_draws = jax.jit(partial(ensemble_error, layers, draws=config.draws))
    train = flat(data.train)
    last = jax.jit(lambda params: served(config, layers, params, train))
    signs = jax.jit(lambda params, x: jnp.argmax(model.run_signs(layers, params, x), 1))
    pixels = pixels_of(data, data.test.image)
    entries = []
    for index, seed in enumerate(config.seeds):
        replica = training.replica_of(replicas, index)
        params = last(replica.params)
        whole = artefact.predict(packed(data, layers, params), pixels)
        floating = signs(model.mode(params), parts["test"].image)
        entry: dict[str, Any] = {
            "seed": seed,
            "integer_error": float(np.mean(whole != data.test.label)),
            "integer_disagreements": int(np.sum(whole != np.asarray(floating))),
        }
        for name, part in parts.items():
            one = evaluate(params, part)
            entry |= {
                f"{name}_propagated": float(one.propagated),
                f"{name}_binarised": float(one.binarised),
            }
        entry["test_ensemble"] = float(
            error_of_draws(params, parts["test"], replica.key)
        )
        entry["overlaps"] = jax.device_get(model.self_overlaps(params))
        entries.append(entry)
    return entries

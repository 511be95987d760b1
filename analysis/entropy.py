r"""First-order PSP-entropy: how a neuron's ON/OFF state relates to the classes.

A neuron is one entry of a layer's pre-activation z, so each position of each
channel of a convolution is a neuron of its own. It is ON where z > 0. With
:math:`f_{ic}` the fraction of the examples of class c that turn neuron i ON,

.. math::
    H_{ic} = -(P \log_2 P + N \log_2 N), \quad
    P = \mathrm{clip}(f_{ic}), \; N = \mathrm{clip}(1 - f_{ic}), \quad
    H_i = \sum_c H_{ic}

in bits, clipped to [1e-4, 0.9999]; no class prior and no division by the number of
classes. A neuron that never changes state has the floor 0.00147 a class, not 0.

Counting is a triple of pure functions, :func:`init`, :func:`update`,
:func:`finalize`, over integers: the result does not depend on batch size or order.
:func:`measure` drives it over a data set. Layers keep the order of evaluation: the
mappings are ordered ones, which jit does not sort by name as it does a plain dict.

Reference: Tartaglione, Bragagnolo and Grangetto, Pruning artificial neural networks:
a way to find well-generalizing, high-entropy sharp minima, arXiv 2004.14765, and the
authors' released code.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis._sets import at_least
from synaptax.typing import Array, PyTree

# Of the authors' released code, which clips the frequencies of both states.
CLIP = (1e-4, 0.9999)

Layers = Mapping[str, Any]
Preactivations = Callable[[PyTree, Any], Any]


class Counts(NamedTuple):
    r"""What has been counted so far.

    Attributes:
        on: layer to int32 (\*neurons, C), examples of each class that were ON.
        examples: int32 (C,), examples of each class.
        outside: int32, labels outside [0, C).
        non_finite: layer to int32, pre-activations that were NaN or infinite.
    """

    on: dict[str, Array]
    examples: Array
    outside: Array
    non_finite: dict[str, Array]


class FirstOrder(NamedTuple):
    """First-order PSP-entropy, in bits, float64.

    Attributes:
        per_class: layer to H[i, c], shape (n, C), neurons in the row-major order of
            the layer's pre-activations.
        per_neuron: layer to H[i], shape (n,), the sum over classes.
        live: layer to boolean (n,): ON for at least one example, and not said to be
            without weights.
        shapes: layer to the shape of its pre-activations without the batch axis.
        examples: (C,), the examples of each class.

    Example:
        >>> counts = analysis.entropy.init({"layer": (1,)}, classes=2)
        >>> z, label = jnp.array([[1.0], [-1.0]] * 2), jnp.array([0, 0, 1, 1])
        >>> counts = analysis.entropy.update(counts, {"layer": z}, label)
        >>> found = analysis.entropy.finalize(counts)
        >>> found.per_neuron["layer"].tolist(), found.live["layer"].tolist()
        ([2.0], [True])
    """

    per_class: dict[str, np.ndarray]
    per_neuron: dict[str, np.ndarray]
    live: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    examples: np.ndarray


def binary_entropy(on: Any, total: Any) -> np.ndarray:
    """Return the clipped binary entropy of counts, in bits, float64.

    Args:
        on: how often the state was ON, integers.
        total: out of how many, broadcast against ``on``.
    """
    on, total = np.asarray(on, np.float64), np.asarray(total, np.float64)
    # P = clip(f), N = clip(1 - f), H = -(P log2 P + N log2 N)  (arXiv 2004.14765)
    up, down = np.clip(on / total, *CLIP), np.clip((total - on) / total, *CLIP)
    return -(up * np.log2(up) + down * np.log2(down))


def init(shapes: Mapping[str, Any], classes: int) -> Counts:
    """Return empty counts.

    Args:
        shapes: layer to the shape of its pre-activations without the batch axis.
        classes: the number of classes C, at least 2.

    Raises:
        ValueError: for fewer than 2 classes, or no layer.
    """
    at_least(2, classes=classes)
    if not shapes:
        raise ValueError("shapes: expected at least one layer, got none")
    # int32: counts of examples are exact up to 2**31.
    zero = jnp.zeros([], jnp.int32)
    on = OrderedDict(
        (name, jnp.zeros((*shape, classes), jnp.int32))
        for name, shape in shapes.items()
    )
    non_finite = OrderedDict.fromkeys(on, zero)
    return Counts(on, jnp.zeros(classes, jnp.int32), zero, non_finite)


def update(counts: Counts, zs: Layers, labels: Array) -> Counts:
    r"""Count one batch; pure, and exact up to 2**24 examples a batch.

    Args:
        counts: what was counted before.
        zs: layer to pre-activations, shape (B, \*neurons).
        labels: integers of shape (B,), the classes.

    Returns:
        The new counts. A label out of range or a pre-activation that is not finite is
        counted as such, and :func:`finalize` refuses.

    Raises:
        ValueError: for layers or shapes other than those of ``counts``, or labels
            that are not integers.
    """
    _check_batch(counts, zs, labels)
    classes = counts.examples.shape[0]
    # An index out of range gives a row of zeros.
    of_class = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
    outside = jnp.sum((labels < 0) | (labels >= classes), dtype=jnp.int32)
    on, non_finite = OrderedDict(), OrderedDict()
    for name, before in counts.on.items():
        z = zs[name].reshape(labels.shape[0], -1)
        # One product counts every neuron and class; float32 is exact up to 2**24.
        ons = (z > 0).astype(jnp.float32).T @ of_class
        on[name] = before + ons.astype(jnp.int32).reshape(before.shape)
        increment = jnp.sum(~jnp.isfinite(z), dtype=jnp.int32)
        non_finite[name] = counts.non_finite[name] + increment
    examples = counts.examples + jnp.sum(of_class, axis=0).astype(jnp.int32)
    return Counts(on, examples, counts.outside + outside, non_finite)


def _check_batch(counts: Counts, zs: Layers, labels: Array) -> None:
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
        raise ValueError(
            f"labels: expected integers of shape (B,), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if set(zs) != set(counts.on):
        raise ValueError(f"zs: expected layers {sorted(counts.on)}, got {sorted(zs)}")
    for name, before in counts.on.items():
        shape = (labels.shape[0], *before.shape[:-1])
        if zs[name].shape != shape:
            raise ValueError(
                f"zs: layer {name} has shape {zs[name].shape}, expected {shape}"
            )


def finalize(counts: Counts, *, alive: Mapping[str, Any] | None = None) -> FirstOrder:
    """Turn counts into entropies, on the host.

    Args:
        counts: of the whole data set.
        alive: optional layer to boolean, False for neurons with no surviving weight;
            broadcast to the layer's shape, so that (channels,) serves a convolution.
            A layer left out is taken as alive.

    Returns:
        The entropies. Dead neurons are in them, with the floor's value; ``live`` tells
        them apart.

    Raises:
        ValueError: for labels out of range, a class with no example, data of one
            class only, pre-activations that are not finite, or ``alive`` of an unknown
            layer or of a shape that does not fit.
    """
    examples = np.asarray(counts.examples)
    check_labels(examples, int(counts.outside))
    for name, number in counts.non_finite.items():
        if int(number):
            raise ValueError(
                f"zs: layer {name} has {int(number)} non-finite pre-activations"
            )
    shapes = {name: on.shape[:-1] for name, on in counts.on.items()}
    alive = _flat_alive(alive or {}, shapes)
    per_class, live = {}, {}
    for name, on in counts.on.items():
        on = np.asarray(on).reshape(-1, examples.size)
        per_class[name] = binary_entropy(on, examples)
        live[name] = (on > 0).any(axis=1) & alive[name]
    per_neuron = {name: H.sum(axis=1) for name, H in per_class.items()}
    return FirstOrder(per_class, per_neuron, live, shapes, examples)


def check_labels(examples: np.ndarray, outside: int) -> None:
    """Raise a ValueError unless every class has examples and no label is outside.

    Args:
        examples: (C,), the examples of each class.
        outside: the number of labels outside [0, C).
    """
    classes = examples.size
    if outside:
        raise ValueError(f"labels: {outside} lie outside [0, {classes})")
    empty = np.flatnonzero(examples == 0)
    if empty.size == classes:
        raise ValueError("batches: expected at least one example, got none")
    if empty.size == classes - 1:
        (only,) = np.flatnonzero(examples)
        raise ValueError(f"labels: expected {classes} classes, all are of class {only}")
    if empty.size:
        raise ValueError(f"labels: no example of class {', '.join(map(str, empty))}")


def _flat_alive(
    alive: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    unknown = sorted(set(alive) - set(shapes))
    if unknown:
        raise ValueError(f"alive: unknown layer {unknown[0]}, have {sorted(shapes)}")
    flat = {}
    for name, shape in shapes.items():
        one = np.asarray(alive.get(name, True))
        if one.dtype != bool:
            raise ValueError(f"alive: layer {name} is {one.dtype}, expected bool")
        try:
            flat[name] = np.broadcast_to(one, shape).reshape(-1)
        except ValueError as error:
            raise ValueError(
                f"alive: layer {name} has shape {one.shape}, expected {shape}"
            ) from error
    return flat


def mean_squares(zs: Layers) -> dict[str, Array]:
    r"""Return each layer's mean of z**2 over its neurons, one value an example.

    Args:
        zs: layer to pre-activations, shape (B, \*neurons).

    Returns:
        Layer to (B,), in float32 or wider.
    """
    return OrderedDict((name, _mean_square(z)) for name, z in zs.items())


def _mean_square(z: Array) -> Array:
    z = z.reshape(z.shape[0], -1)
    # float32 or wider: the square of a half overflows from 256 on.
    wide = z if z.dtype == jnp.float64 else z.astype(jnp.float32)
    return jnp.mean(wide**2, axis=1)


def layers_of(preactivations: Preactivations, params: PyTree, x: Any) -> Layers:
    """Return layer to pre-activations, from a function of either form.

    Args:
        preactivations: ``(params, x) -> {layer: z}`` or ``-> (y, {layer: z})``, as
            ``pruning.preactivations`` makes it.
        params: the parameters.
        x: a batch of inputs.

    Raises:
        ValueError: if it returns something else.
    """
    layers = preactivations(params, x)
    if isinstance(layers, tuple) and len(layers) == 2:
        layers = layers[1]
    if not isinstance(layers, Mapping):
        raise ValueError(
            "preactivations: expected a function that returns {layer: z} or "
            f"(y, {{layer: z}}), got {type(layers).__name__}"
        )
    return layers


def measure(
    preactivations: Preactivations,
    params: PyTree,
    batches: Iterable[tuple[Any, Any]],
    classes: int,
    *,
    alive: Mapping[str, Any] | None = None,
) -> tuple[FirstOrder, dict[str, float]]:
    """Return the first-order entropy and the mean z**2 of each layer over a data set.

    Args:
        preactivations: see :func:`layers_of`.
        params: the parameters.
        batches: ``(x, labels)`` pairs; sizes may differ (each size compiles once).
        classes: the number of classes.
        alive: see :func:`finalize`.

    Returns:
        The entropies, and layer to the mean over examples and neurons of z**2. The
        latter is a sum of rounded numbers: batch sizes may change its last digits.

    Raises:
        ValueError: see :func:`finalize`; also for no batch.

    Example:
        >>> zs_of = lambda w, x: {"layer": x @ w}  # or pruning.preactivations(apply_fn)
        >>> x, label = jnp.array([[1.0], [1.0], [-1.0], [1.0]]), jnp.array([0, 0, 1, 1])
        >>> w = jnp.ones((1, 2))
        >>> found, squares = analysis.entropy.measure(zs_of, w, [(x, label)], 2)
        >>> found.per_class["layer"].round(3).tolist(), squares
        ([[0.001, 1.0], [0.001, 1.0]], {'layer': 1.0})
    """
    counts = None
    squares: dict[str, list[float]] = {}
    for x, labels in batches:
        if not np.size(labels):
            continue
        if counts is None:
            counts = init(layer_shapes(preactivations, params, x), classes)
            squares = {name: [] for name in counts.on}
        counts, batch_squares = _count(
            preactivations, params, counts, x, jnp.asarray(labels)
        )
        for name, values in batch_squares.items():
            squares[name].extend(np.asarray(values).tolist())
    if counts is None:
        raise ValueError("batches: expected at least one, got none")
    result = finalize(counts, alive=alive)
    total = int(result.examples.sum())
    # fsum rounds once: the order of the examples does not count.
    return result, {name: math.fsum(each) / total for name, each in squares.items()}


# Compiled once for each function of pre-activations, whatever the parameters.
@functools.partial(jax.jit, static_argnums=0)
def _count(
    preactivations: Preactivations, params: PyTree, counts: Counts, x: Any, labels: Any
) -> tuple[Counts, dict[str, Array]]:
    zs = layers_of(preactivations, params, x)
    return update(counts, zs, labels), mean_squares(zs)


@functools.partial(jax.jit, static_argnums=0)
def _states(
    preactivations: Preactivations, params: PyTree, x: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    zs = layers_of(preactivations, params, x)
    finite = {name: jnp.all(jnp.isfinite(z)) for name, z in zs.items()}
    on = OrderedDict((n, z.reshape(z.shape[0], -1) > 0) for n, z in zs.items())
    return on, finite


def layer_shapes(
    preactivations: Preactivations, params: PyTree, x: Any
) -> dict[str, tuple[int, ...]]:
    """Return layer to the shape of its pre-activations without the batch axis.

    Nothing is computed: the function is only traced. Args as of :func:`layers_of`.
    """
    zs = jax.eval_shape(lambda p, x: layers_of(preactivations, p, x), params, x)
    return OrderedDict((name, z.shape[1:]) for name, z in zs.items())


def states(
    preactivations: Preactivations, params: PyTree, batches: Iterable[tuple[Any, Any]]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return every example's ON/OFF states, for what needs more than counts.

    Args:
        preactivations: see :func:`layers_of`.
        params: the parameters.
        batches: ``(x, labels)`` pairs.

    Returns:
        ``(on, labels)``: layer to booleans (M, n) on the host, one byte each, and the
        labels (M,).

    Raises:
        ValueError: for no batch, or pre-activations that are not finite.
    """
    chunks: dict[str, list[np.ndarray]] = {}
    labels = []
    for x, label in batches:
        if not np.size(label):
            continue
        on, finite = _states(preactivations, params, x)
        for name, each in on.items():
            if not bool(finite[name]):
                raise ValueError(f"zs: layer {name} has non-finite pre-activations")
            chunks.setdefault(name, []).append(np.asarray(each))
        labels.append(np.asarray(label))
    if not labels:
        raise ValueError("batches: expected at least one, got none")
    joined = {name: np.concatenate(parts) for name, parts in chunks.items()}
    return joined, np.concatenate(labels)

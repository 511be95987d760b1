"""What is measured of each solution, as plain numbers for JSON.

The keys that :mod:`analysis.minima.claims` reads are those of :func:`measure` and
:func:`analysis.minima.maps.pair`. Entropies are in bits per class: sums over classes,
divided by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from analysis import curvature, entropy, selectivity, spectrum, transfer
from analysis.landscape import mean_loss
from analysis.minima.config import Config
from analysis.minima.solutions import Setting, Solution
from analysis.operators import Operator, hessian
from analysis.pairs import FORMS, second_order
from analysis.sharpness import ascent_sharpness, expected_sharpness
from pruning import LOGITS, preactivations
from synaptax.data.images import Batch, load
from synaptax.nets import models
from synaptax.training import evaluation
from synaptax.trees import named_leaves

RADIUS = 0.1  # of the ball for the worst rise, Euclidean norm
NOISE = 0.05  # of each weight's magnitude, for the mean rise
PAIR_NEURONS = 3200  # drawn from a larger layer for pairs: an unbiased sample
TRACE_PROBES = 8
_BATCH = 500
_UNITS_BATCH = 100  # where every unit of every layer is held
_BINS = 40


class Meter(NamedTuple):
    """Functions and data that all measurements of a comparison share.

    Attributes:
        config: of the comparison.
        setting: network and data.
        apply_fn: ``(state, x) -> logits``; a state is (params, stats).
        loss_fn: ``(state, (x, label)) -> mean loss``.
        potentials: ``(state, x) -> (y, zs)``, every ReLU's whole input.
        trunk: ``(state, x) -> (B, F)``, the last hidden layer's activations, averaged
            over positions if it has any.
        hidden: ``(state, x) -> (B, n)``, the activations of all hidden layers.
        transfer: (train, validation, test) of the set to transfer to, or None.
    """

    config: Config
    setting: Setting
    apply_fn: Callable[[Any, Any], Any]
    loss_fn: Callable[[Any, Any], Any]
    potentials: Callable[[Any, Any], Any]
    trunk: Callable[[Any, Any], Any]
    hidden: Callable[[Any, Any], Any]
    transfer: tuple[Batch, Batch, Batch] | None

    def train_loss(self, state: Any, train: Batch) -> Any:
        """Return the mean loss over the training examples, on the device."""
        return _evaluated(self.apply_fn, state, train)[0]


def meter(setting: Setting, *, quiet: bool = False) -> Meter:
    """Return what all measurements of a comparison share."""
    config, data, net = setting.config, setting.data, setting.net
    # Every position of a convolution is a neuron: rectify before pooling, not after.
    options = {"rectify": "full"} if config.model == "lenet5" else {}
    shape = data.train.image.shape[1:]
    whole = models.network(config.model, data.classes, shape, **options)
    potentials = preactivations(lambda state, x: whole.apply(state[0], state[1], x))

    def activations(state: Any, x: Any) -> list[Any]:
        _, zs = potentials(state, x)
        return [jax.nn.relu(z) for name, z in zs.items() if name != LOGITS]

    def hidden(state: Any, x: Any) -> Any:
        flat = [a.reshape(a.shape[0], -1) for a in activations(state, x)]
        return jnp.concatenate(flat, axis=1)

    def trunk(state: Any, x: Any) -> Any:
        last = activations(state, x)[-1]
        return last.mean(axis=tuple(range(1, last.ndim - 1)))

    def apply_fn(state: Any, x: Any) -> Any:
        return net.apply(state[0], state[1], x)

    return Meter(
        config,
        setting,
        apply_fn,
        mean_loss(apply_fn),
        potentials,
        trunk,
        hidden,
        _transfer_set(config, data, quiet),
    )


def state_of(solution: Solution) -> tuple[Any, Any]:
    """Return (params, stats) of a solution, on the device."""
    return jax.tree.map(jnp.asarray, (solution.params, solution.stats))


def masks_of(solution: Solution, *, every: bool = False) -> tuple[Any, Any]:
    """Return the mask of a state: survivors, or every parameter; never statistics."""
    mask = jax.tree.map(lambda leaf: jnp.asarray(leaf) | every, solution.masks)
    return mask, jax.tree.map(lambda leaf: jnp.zeros_like(leaf, bool), solution.stats)


def measure(shared: Meter, solution: Solution) -> dict[str, Any]:
    """Return everything that is measured of one solution.

    A flat dict of numbers, but for ``layers`` (layer to its own numbers) and
    ``histograms``.
    """
    measures: dict[str, Any] = {
        "arm": solution.arm,
        "seed": solution.seed,
        "level": solution.level,
        "kept": solution.kept,
        "total": solution.total,
        "validation_error": solution.validation_error,
    }
    measures |= errors(shared, solution)
    if solution.arm == "dense":
        return measures
    measures |= sharpness(shared, solution)
    measures |= psp(shared, solution)
    return measures | transferred(shared, solution)


def errors(shared: Meter, solution: Solution) -> dict[str, float]:
    """Return loss and error on the training and the test set."""
    data, state = shared.setting.data, state_of(solution)
    test = _evaluate(shared.apply_fn, state, data.test)
    train = _evaluate(shared.apply_fn, state, data.train)
    return {
        "test_examples": float(len(data.test.label)),
        "test_loss": test[0],
        "error": test[1],
        "train_loss": train[0],
        "train_error": train[1],
    }


def sharpness(shared: Meter, solution: Solution) -> dict[str, float]:
    """Return top eigenvalues, trace, and the rise of the loss when disturbed."""
    config, state, masks = shared.config, state_of(solution), masks_of(solution)
    data = subset(shared.setting.data.train, config.curvature_examples)
    operators = {
        "top_all": hessian_of(shared, solution, data, every=True),
        "top_survivors": hessian_of(shared, solution, data),
    }
    key = jax.random.key(0)
    values: dict[str, float] = {}
    for name, operator in operators.items():
        # One Lanczos run: the residual beside says how near the value is.
        top = curvature.top_eigenpairs(
            operator, 1, key, steps=config.lanczos_steps, restarts=0
        )
        values[name] = float(top.values[0])
        values[f"{name}_residual"] = float(top.residuals[0])
    estimate = curvature.trace(operators["top_survivors"], key, probes=TRACE_PROBES)
    values["trace_survivors"] = estimate.value
    values["trace_survivors_se"] = estimate.standard_error
    worst = ascent_sharpness(
        shared.loss_fn, state, data, radius=RADIUS, mask=masks, batch=_BATCH
    )
    average = expected_sharpness(
        shared.loss_fn,
        state,
        data,
        key,
        sigma=NOISE,
        draws=10,
        relative=True,
        mask=masks,
        batch=_BATCH,
    )
    values["worst_rise"] = float(worst.rise)
    return values | {
        "mean_rise": float(average.rise),
        "mean_rise_se": float(average.se),
    }


def hessian_of(
    shared: Meter, solution: Solution, data: Any, *, every: bool = False
) -> Operator:
    """Return the Hessian of the mean loss, of the survivors or of every weight."""
    mask = masks_of(solution, every=every)
    return hessian(shared.loss_fn, state_of(solution), data, batch=_BATCH, mask=mask)


def density(shared: Meter, solution: Solution) -> dict[str, Any]:
    """Return the smoothed spectrum of the survivors and its mass at zero."""
    config = shared.config
    data = subset(shared.setting.data.train, config.curvature_examples)
    operator = hessian_of(shared, solution, data)
    rules = spectrum.spectral_density(
        operator,
        jax.random.key(0),
        steps=config.lanczos_steps,
        probes=config.probes,
    )
    low, high = spectrum.extent(rules)
    # 240 steps over 68 bandwidths: a step is below a third of one. And above 0, where
    # all eigenvalues are equal.
    bandwidth = max((high - low) / 60, 1e-6)
    grid = np.linspace(low - 4 * bandwidth, high + 4 * bandwidth, 241)
    curve = spectrum.smoothed(rules, bandwidth, grid)
    return {
        "grid": curve.grid,
        "density": curve.density,
        "se": curve.standard_error,
        "bandwidth": bandwidth,
        "pruned": 1 - solution.kept / solution.total,
        "low": low,
        "high": high,
    }


def psp(shared: Meter, solution: Solution) -> dict[str, Any]:
    """Return entropies of first and second order, z^2 and selectivity."""
    data, classes = shared.setting.data, shared.setting.data.classes
    test = Batch(*subset(data.test, shared.config.entropy_examples))
    state = state_of(solution)
    shapes = entropy.layer_shapes(shared.potentials, state, test.image[:1])
    hidden = [name for name in shapes if name != LOGITS]
    first, squares = entropy.measure(
        shared.potentials,
        state,
        batches(test),
        classes,
        alive=alive_neurons(solution, hidden),
    )
    states, labels = entropy.states(
        shared.potentials, state, batches(Batch(*subset(test, 2000)))
    )
    preferred = _selective(shared, solution, test, first, hidden)
    layers: dict[str, dict[str, Any]] = {}
    for name in hidden:
        H, live = first.per_neuron[name] / classes, first.live[name]
        layers[name] = {
            "neurons": int(H.size),
            "live": int(live.sum()),
            "z2": squares[name],
            "H1": float(H.mean()),
            "H1_live": _mean(H[live]),
            **_second(states[name], labels, classes, live),
            **preferred[name],
        }
    everything = np.concatenate([first.per_neuron[n] / classes for n in hidden])
    live = np.concatenate([first.live[n] for n in hidden])
    values: dict[str, Any] = {
        "layers": layers,
        "z2": float(np.mean(list(squares.values()))),
        "z2_hidden": float(np.mean([squares[name] for name in hidden])),
        "H1": float(everything.mean()),
        "H1_live": _mean(everything[live]),
        "H1_layers": float(np.mean([layers[name]["H1"] for name in hidden])),
        "live": int(live.sum()),
        "neurons": int(live.size),
        "histograms": {
            name: np.histogram(
                first.per_neuron[name][first.live[name]] / classes, _BINS, (0, 1)
            )[0]
            for name in hidden
        },
    }
    for key in layers[hidden[0]]:
        if key.startswith("H2") or key in ("selectivity", "variance", "information"):
            # NaN where a layer has none: a mean over the layers that are left would
            # be one of other layers than the network it is compared with.
            values[key] = float(np.mean([layers[name][key] for name in hidden]))
    return values


def transferred(shared: Meter, solution: Solution) -> dict[str, float]:
    """Return the errors of a linear probe and of neighbours on the other set."""
    if shared.transfer is None:
        return {}
    state = state_of(solution)
    parts = [
        (transfer.features(shared.trunk, state, part.image), part.label)
        for part in shared.transfer
    ]
    classes = int(max(part.label.max() for part in shared.transfer)) + 1
    probe = transfer.linear_probe(parts[0], parts[1], parts[2], classes)
    near = transfer.nearest_neighbours(parts[0], parts[1], parts[2], classes)
    return {
        "probe_error": probe.test_error,
        "probe_ridge": probe.chosen,
        "neighbour_error": near.test_error,
        "neighbours": near.chosen,
    }


def alive_neurons(solution: Solution, hidden: Sequence[str]) -> dict[str, np.ndarray]:
    """Return, layer by layer, which neurons have a surviving incoming weight.

    Hidden layers and kernels follow each other one by one in a LeNet. Elsewhere (a
    residual sum has several kernels) nothing is said, which :mod:`analysis.entropy`
    takes as alive.
    """
    kernels = [
        np.asarray(leaf) for _, leaf in named_leaves(solution.masks) if leaf.ndim > 1
    ]
    if len(kernels) != len(hidden) + 1 or jax.tree.leaves(solution.stats):
        return {}
    return {
        name: np.asarray(kernel.reshape(-1, kernel.shape[-1]).any(axis=0))
        for name, kernel in zip(hidden, kernels, strict=False)
    }


def subset(batch: Batch, count: int) -> tuple[Any, Any]:
    """Return the first so many examples as (x, label) on the device."""
    return jnp.asarray(batch[0][:count]), jnp.asarray(batch[1][:count])


def _second(
    on: np.ndarray, labels: np.ndarray, classes: int, live: np.ndarray
) -> dict[str, float]:
    """Return the forms of second-order entropy, in bits per class."""
    if on.shape[1] > PAIR_NEURONS:
        neurons = np.random.default_rng(0).choice(on.shape[1], PAIR_NEURONS, False)
        on, live = on[:, np.sort(neurons)], live[np.sort(neurons)]
    entropies = {}
    for form in FORMS:
        result = second_order(on, labels, classes, form=form, alive=live)
        entropies[f"H2_{form}"] = result.mean / classes
        if form != "draft":
            entropies[f"H2_{form}_live"] = result.live / classes
    return entropies


def _selective(
    shared: Meter,
    solution: Solution,
    test: Batch,
    first: entropy.FirstOrder,
    hidden: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Return the mean of each selectivity index over the live units of each layer."""
    sums = selectivity.moments(
        shared.hidden, state_of(solution), batches(test), shared.setting.data.classes
    )
    indices = {
        "selectivity": selectivity.class_selectivity(sums),
        "variance": selectivity.explained_variance(sums),
        "information": selectivity.mutual_information(sums),
    }
    starts = np.cumsum([0, *(first.live[name].size for name in hidden)])
    return {
        name: {
            key: _mean(values[start : start + first.live[name].size][first.live[name]])
            for key, values in indices.items()
        }
        for name, start in zip(hidden, starts, strict=False)
    }


def _mean(values: np.ndarray) -> float:
    """Return the mean of what is finite, NaN of nothing."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def batches(data: Batch) -> Iterator[tuple[Any, Any]]:
    """Yield the examples in parts small enough for every unit of every layer."""
    for start in range(0, len(data.label), _UNITS_BATCH):
        part = slice(start, start + _UNITS_BATCH)
        yield jnp.asarray(data.image[part]), jnp.asarray(data.label[part])


def _evaluate(apply_fn: Any, state: Any, data: Batch) -> tuple[float, float]:
    loss, error = _evaluated(apply_fn, state, jax.device_put(data))
    return float(loss), float(error)


_evaluated = jax.jit(evaluation.evaluate, static_argnums=0)


def _transfer_set(
    config: Config, data: Any, quiet: bool
) -> tuple[Batch, Batch, Batch] | None:
    """Return the parts of the other set, the training part shortened."""
    if config.transfer == "none":
        return None
    if config.transfer == "transposed":
        turn = lambda part: Batch(np.swapaxes(part.image, 1, 2), part.label)
        parts = [turn(part) for part in (data.train, data.validation, data.test)]
    else:
        other = load(config.transfer, data_dir=config.data_dir, progress=not quiet)
        parts = [other.train, other.validation, other.test]
    first = parts[0]
    few = Batch(*(part[: config.transfer_examples] for part in first))
    return few, parts[1], parts[2]

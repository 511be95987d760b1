"""The table of transforms that the conformance suite runs over.

To add a transform, add a line to ``CASES``; every test of the suite then holds for it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pruning import masks, schedules, transforms

STEPS = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """A transform, how to make it, and what its update needs.

    Attributes:
        name: for the test's name.
        make: rate -> transform; a transform without a rate takes it as a step size.
        needs: extra arguments of update, from (params, grads).
        valued: density (or factor) -> transform with a state as that of ``make``.
        around: optimizer -> transform, of one that has an optimizer inside.
        slow: whether it runs in the full suite alone.
    """

    name: str
    make: Callable[..., optax.GradientTransformationExtraArgs]
    needs: Callable[[Any, Any], dict[str, Any]] = lambda params, grads: {}
    valued: Callable[[Any], optax.GradientTransformationExtraArgs] | None = None
    around: Callable[..., optax.GradientTransformationExtraArgs] | None = None
    slow: bool = False

    @property
    def leaves_zeros(self):
        """Whether pruned weights are exactly 0; straight-through, they stay dense."""
        return "prune" in self.name and not self.name.startswith("straight")


def felt(params, batch):
    """Return a made-up sensitivity that depends on the weights and the data."""
    return jax.tree.map(lambda w: jnp.abs(w) * jnp.mean(batch).astype(w.dtype), params)


def receive(params, batch):
    """Return a made-up network: each weight meets the data, then a relu."""
    mean = jnp.mean(batch)
    return [jax.nn.relu(w * mean.astype(w.dtype)) for w in jax.tree.leaves(params)]


def data(params, grads):
    return {"batch": jnp.arange(3.0)}


KEY = jax.random.key(7)
GRADUAL = schedules.polynomial(1, 3, 0.25)
RATE = 0.125


def after_step(pruner):
    return optax.chain(optax.scale(RATE), pruner)


def moving(grow, slow):
    """Return a case of :func:`pruning.rewired`."""

    def around(inner, density=0.5):
        return transforms.rewired(inner, density, key=KEY, every=1, end=9, grow=grow)

    names = {"gradient": "rewired_prune", "random": "rewired_prune_at_random"}
    return Case(
        names.get(grow, "static_prune"),
        lambda rate: around(optax.sgd(rate, momentum=0.9)),
        valued=lambda density: around(optax.sgd(RATE, momentum=0.9), density),
        around=around,
        slow=slow,
    )


CASES = [
    Case(
        "sensitivity_decay",
        lambda rate: transforms.sensitivity_decay(rate),
        lambda params, grads: {
            "sensitivity": jax.tree.map(lambda g: jnp.abs(g) / 2, grads)
        },
    ),
    Case(
        "sensitivity_decay_fn",
        lambda rate: transforms.sensitivity_decay(rate, sensitivity_fn=felt),
        data,
    ),
    Case(
        "sensitivity_decay_refresh",
        lambda rate: transforms.sensitivity_decay(rate, sensitivity_fn=felt, refresh=3),
        data,
    ),
    Case(
        "loss_sensitivity_decay",
        lambda rate: transforms.loss_sensitivity_decay(rate),
        lambda params, grads: {"grads": grads},
    ),
    Case(
        "psp_regularization",
        lambda rate: transforms.psp_regularization(receive, rate, logits=False),
        data,
    ),
    Case(
        "prune",
        lambda rate: optax.chain(optax.scale(rate), transforms.prune(GRADUAL)),
        valued=lambda d: after_step(transforms.prune(schedules.one_shot(1, d))),
    ),
    Case(
        "prune_neurons_by_saliency",
        lambda rate: optax.chain(
            optax.scale(rate),
            transforms.prune(
                schedules.periodic(2, 0.6),
                score="saliency",
                scope="layer",
                structure=masks.neuron(),
                regrow=True,
            ),
        ),
        lambda params, grads: {"grads": grads},
        valued=lambda factor: after_step(
            transforms.prune(
                schedules.periodic(1, factor),
                score="saliency",
                scope="layer",
                structure=masks.neuron(),
                regrow=True,
            )
        ),
    ),
    Case(
        "prune_manual",
        lambda rate: optax.chain(
            optax.scale(rate), transforms.prune(schedules.manual())
        ),
    ),
    Case(
        "pruned",
        lambda rate: transforms.pruned(optax.sgd(rate, momentum=0.9), GRADUAL),
        valued=lambda density: transforms.pruned(
            optax.sgd(RATE, momentum=0.9), schedules.one_shot(1, density)
        ),
        around=lambda inner: transforms.pruned(inner, GRADUAL),
    ),
    moving("gradient", slow=False),
    Case(
        "straight_through_prune",
        lambda rate: optax.chain(
            optax.scale(rate), transforms.straight_through_masks(GRADUAL)
        ),
        valued=lambda density: after_step(
            transforms.straight_through_masks(schedules.one_shot(1, density))
        ),
    ),
    moving("random", slow=True),
    moving("none", slow=True),
    Case(
        "prune_alternating",
        lambda rate: optax.chain(
            optax.scale(rate),
            transforms.prune(schedules.alternating(0, 3, 1, 0.25), regrow=True),
        ),
        valued=lambda density: after_step(
            transforms.prune(schedules.alternating(1, 9, 4, density), regrow=True)
        ),
        slow=True,
    ),
]
with_each = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if case.slow else (), id=case.name)
        for case in CASES
    ],
)


def drawn(seed, shape, dtype):
    """Draw with NumPy: nothing to compile."""
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values.astype(jnp.dtype(dtype)))


def weights(dtype="float32", seed=0):
    return {
        "a": {
            "kernel": drawn([1, seed], (4, 6), dtype),
            "bias": jnp.asarray(np.ones(6, jnp.dtype(dtype))),
        },
        "b": {"scale": drawn([2, seed], (6,), dtype)},
    }


def gradients(params, step):
    leaves, structure = jax.tree.flatten(params)
    drawings = [
        drawn([3, step, number], leaf.shape, leaf.dtype)
        for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, drawings)


def one_step(case, tx, params, state, grads, **more):
    updates, state = tx.update(
        grads, state, params, **case.needs(params, grads), **more
    )
    return optax.apply_updates(params, updates), state


def run(case, tx, params, steps=STEPS, pick=lambda grads: grads, **more):
    """Take a few steps outside jit; ``pick`` selects from gradients of all weights."""
    state = tx.init(params)
    for step in range(steps):
        grads = pick(gradients(weights(), step))
        params, state = one_step(case, tx, params, state, grads, **more)
    return params, state


PLAIN = {}


def plain(case):
    """Return the parameters after a few plain steps: what wrappers must reproduce."""
    if case.name not in PLAIN:
        PLAIN[case.name] = run(case, case.make(RATE), weights())[0]
    return PLAIN[case.name]


def same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def types(tree):
    return jax.tree.map(lambda leaf: jax.typeof(jnp.asarray(leaf)), tree)

"""What the overlay measures: a list of jobs, each a few seconds to a minute or two."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import binary
from binary._checks import number
from binary._local_entropy import local_entropy
from binary.instances import Instance
from binary.overlay.ascent import ascend
from binary.overlay.sampler import sample
from synaptax.checks import check_integer

LEVELS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
CHAINS = ((5.0, 0.5), (5.0, 0.8), (10.0, 0.8), (10.0, 0.9), (20.0, 0.5), (20.0, 0.7))
SLOW = {(10.0, 0.8): 2, (10.0, 0.9): 5}  # chains that need so many times the sweeps
COUPLINGS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 1.8)
FLIPS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
LOADS = (1.0, 1.2, 1.3, 1.4, 1.45, 1.5, 1.55, 1.6, 1.8)
SAMPLED = (10.0, 0.8)  # beta and q* of the sampled centres


@dataclasses.dataclass(frozen=True)
class Overlay:
    """What to measure, at which size.

    Attributes:
        alpha: Load of the storage problem.
        size: N of the instances that are solved.
        instances: How many are solved.
        ascent_size: N of the instances for ascent at fixed q*.
        ascent_steps: Steps at one q*, at most.
        chain_size: N of the instances that are sampled.
        chains: How many are sampled, one chain each.
        sweeps: Sweeps of a chain, half of them before measuring.
        teacher_size: N of the teacher-student instances.
        teacher_instances: How many at each load.
        teacher_epochs: Epochs of annealed ascent towards the teacher.
        flips: Random flips drawn for each solution and distance.
        seed: Of everything random.
    """

    alpha: float = 0.55
    size: int = 1001
    instances: int = 8
    ascent_size: int = 2001
    ascent_steps: int = 600
    chain_size: int = 401
    chains: int = 16
    sweeps: int = 300
    teacher_size: int = 501
    teacher_instances: int = 10
    teacher_epochs: int = 2000
    flips: int = 20
    seed: int = 0


SMALL = Overlay(
    size=201,
    instances=4,
    ascent_size=301,
    ascent_steps=200,
    chain_size=101,
    chains=4,
    sweeps=40,
    teacher_size=101,
    teacher_instances=3,
    teacher_epochs=200,
    flips=4,
)


class Job(NamedTuple):
    """One measurement.

    Attributes:
        name: unique; what a resumed run looks for.
        run: returns the result, ready for JSON.
    """

    name: str
    run: Callable[[], dict[str, Any]]


def check(config: Overlay) -> None:
    """Raise a ValueError that names a field out of range."""
    expected = "a load between 0 and 0.83"
    # The capacity is 0.833.
    number("alpha", config.alpha, expected, lambda a: 0 < a < 0.83)
    twice = dict.fromkeys(("instances", "chains", "sweeps", "teacher_instances"), 2)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        least = {"seed": 0, **twice}.get(field.name, 1)
        if field.name == "alpha":
            continue
        check_integer(field.name, value, least, expected=f"at least {least}")
        if field.name.endswith("size") and value % 2 == 0:
            raise ValueError(f"{field.name}: expected an odd number, got {value}")


def statistics(values: Any) -> dict[str, Any]:
    """Return mean and standard error over the first axis, with the number of rows."""
    values = np.asarray(values, np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return {"mean": values.mean(axis=0), "error": error, "n": len(values)}


def _key(config: Overlay, *words: int) -> Any:
    key = jax.random.key(config.seed)
    for word in words:
        key = jax.random.fold_in(key, word)
    return key


def draw(key: Any, size: int, load: float, count: int) -> Instance:
    """Draw a batch of storage instances."""
    keys = jax.random.split(key, count)
    return binary.stack([binary.storage(one, size, load) for one in keys])


def ascent(config: Overlay) -> dict[str, Any]:
    """Measure ascent at each q* of a rising sequence."""
    instances = draw(
        _key(config, 0), config.ascent_size, config.alpha, config.instances
    )
    keys = jax.random.split(_key(config, 1), config.instances)
    levels = jnp.array(LEVELS, jnp.float32)
    result = ascend(keys, instances, levels, config.ascent_steps, 1e-5)
    return {
        "q_star": LEVELS,
        "size": config.ascent_size,
        **{name: statistics(getattr(result, name)) for name in result._fields},
    }


def chain(config: Overlay, index: int) -> dict[str, Any]:
    """Sample m at one (beta, q*) and measure its energies."""
    beta, q_star = CHAINS[index]
    instances = draw(_key(config, 2), config.chain_size, config.alpha, config.chains)
    half = SLOW.get(CHAINS[index], 1) * config.sweeps // 2
    samples = sample(
        _key(config, 3, index), instances, q_star, beta, warm=half, kept=half
    )
    names = ("loss", "energy_mode", "energy_draw", "apart", "accepted")
    return {
        "beta": beta,
        "q_star": q_star,
        "size": config.chain_size,
        **{name: statistics(getattr(samples, name)) for name in names},
    }


def _centres(config: Overlay, kind: str) -> tuple[Instance, np.ndarray]:
    """Return instances, and binary weights found or sampled for each."""
    if kind == "sampled":
        # Half as large again as the chains, and odd: 601 at the default.
        size = 2 * (3 * config.chain_size // 4) + 1
        instances = draw(_key(config, 4), size, config.alpha, config.chains)
        beta, q_star = SAMPLED
        samples = sample(
            _key(config, 5), instances, q_star, beta, warm=config.sweeps, kept=1
        )
        return instances, np.where(np.asarray(samples.m) < 0, -1, 1).astype(np.int8)
    # Twice as many as are asked for, since not all are solved.
    instances = draw(_key(config, 6), config.size, config.alpha, 2 * config.instances)
    solver = binary.free(rate=0.3) if kind == "free" else binary.annealed()
    keys = jax.random.split(_key(config, 7), 2 * config.instances)
    result = binary.solve(solver, instances, keys, epochs=500)
    solved = np.flatnonzero(np.asarray(result.solved))[: config.instances]
    if len(solved) < 2:
        raise ArithmeticError(f"{kind} ascent solved {len(solved)} instances, not 2")
    solvable = jax.tree.map(lambda leaf: leaf[solved], instances)
    return solvable, np.asarray(result.weights)[solved]


def flip_errors(
    rng: np.random.Generator, instances: Instance, weights: np.ndarray, draws: int
) -> np.ndarray:
    """Return the mean training error after random flips, shape (B, len(FLIPS))."""
    patterns = np.asarray(instances.patterns).astype(np.float32)
    size = weights.shape[1]
    errors = np.empty((len(weights), len(FLIPS)))
    for column, distance in enumerate(FLIPS):
        count = max(1, round(distance * size))
        # Ranks of random numbers: exactly ``count`` weights flip in each draw.
        order = rng.random((len(weights), draws, size)).argsort(axis=-1)
        signs = np.where(order < count, -1, 1).astype(np.float32)
        fields = np.einsum("bmn,bdn->bmd", patterns, signs * weights[:, None, :])
        errors[:, column] = np.mean(fields < 0, axis=(1, 2))
    return errors


def around(config: Overlay, kind: str) -> dict[str, Any]:
    """Measure local entropy and robustness around configurations of one kind."""
    instances, weights = _centres(config, kind)
    local = local_entropy(instances, weights, COUPLINGS)
    errors = flip_errors(
        np.random.default_rng(config.seed), instances, weights, config.flips
    )
    patterns = np.asarray(instances.patterns).astype(np.int32)
    own = np.mean(np.einsum("bmn,bn->bm", patterns, weights) < 0, axis=1)
    size = weights.shape[1]
    fractions = np.maximum(1, np.round(np.array(FLIPS) * size)) / size
    return {
        "size": size,
        "couplings": COUPLINGS,
        "distance": statistics(local.distance),
        "entropy": statistics(local.entropy),
        "converged": local.converged.mean(axis=0),
        "error": statistics(own),
        "flips": fractions,
        "flipped_error": statistics(errors),
    }


def teacher(config: Overlay, kind: str) -> dict[str, Any]:
    """Measure how often ascent finds the teacher, load by load."""
    count, size = config.teacher_instances, config.teacher_size
    keys = jax.random.split(_key(config, 8), len(LOADS) * count)
    loads = np.repeat(LOADS, count)
    instances = binary.stack(
        [
            binary.teacher_student(key, size, float(load))
            for key, load in zip(keys, loads, strict=True)
        ]
    )
    solver = binary.free(rate=0.1) if kind == "free" else binary.annealed()
    epochs = 500 if kind == "free" else config.teacher_epochs
    turns = jax.random.split(_key(config, 9), len(loads))
    result = binary.solve(solver, instances, turns, epochs=epochs)
    overlap = np.mean(
        np.asarray(result.best_weights, float) * np.asarray(instances.teacher), axis=1
    )
    solved = np.asarray(result.solved)
    table = (len(LOADS), count)
    return {
        "size": size,
        "loads": LOADS,
        "n": count,
        "epochs": epochs,
        "solved": solved.reshape(table).sum(axis=1),
        "teacher_found": (overlap == 1).reshape(table).sum(axis=1),
        "overlap": statistics(overlap.reshape(table).T),
        "generalization_error": statistics(
            np.arccos(np.clip(overlap, -1, 1)).reshape(table).T / np.pi
        ),
    }


def jobs(config: Overlay) -> list[Job]:
    """Return every job of the overlay, in order."""
    listed = [Job("ascent", lambda: ascent(config))]
    for index, (beta, q_star) in enumerate(CHAINS):
        name = f"chain beta={beta:g} q*={q_star:g}"
        listed.append(Job(name, lambda index=index: chain(config, index)))
    for kind in ("free", "annealed", "sampled"):
        listed.append(Job(f"around {kind}", lambda kind=kind: around(config, kind)))
    for kind in ("free", "annealed"):
        listed.append(Job(f"teacher {kind}", lambda kind=kind: teacher(config, kind)))
    return listed

"""Training steps per second: against PyTorch, and of several seeds in one call.

Run with ``python -m pruning.benchmarks.training``. The two LeNets take plain SGD
steps (batch 100, cross-entropy) on random images of MNIST's shape, held on the device,
inside one jitted ``lax.scan``. PyTorch runs the same networks from the same initial
parameters over the same batches on the same cores, in its usual eager loop, and must
end at the same loss. LeNet-5 is timed in both ways of convolving on a CPU. PyTorch is
optional: ``pip install 'synaptax[bench]'``.

Several seeds of LeNet-300-100, each with batches of its own, run in one call in two
ways: ``vmap`` over the seeds and ``lax.map`` over them. A product of large matrices is
timed in the same rounds, since what its rate leaves over bounds what ``vmap`` can win.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from synaptax.nets import models
from synaptax.reports import harness
from synaptax.typing import Array

BATCH = 100
SHAPE = (28, 28, 1)
CLASSES = 10
RATE = 0.1
MATMUL = 2048
SEEDS = (1, 2, 5, 10)

# Multiply-adds of one image's forward pass: the first layer, whose input needs no
# gradient, and the rest.
_MULTIPLY_ADDS = {
    "lenet300": (784 * 300, 300 * 100 + 100 * 10),
    "lenet5": (24 * 24 * 25 * 20, 8 * 8 * 500 * 50 + 800 * 500 + 500 * 10),
}


class Batches(NamedTuple):
    """Training data: image (steps, B, H, W, C) float32, label (steps, B) int32."""

    image: Any
    label: Any


class Case(NamedTuple):
    """One timed function and what it stands for.

    Attributes:
        call: the function, without arguments.
        run: what runs, for the table.
        work: what the ratio compares: its name and that of its base.
        steps: training steps of one seed in a call (1 for the matrix product).
        flops: floating-point operations of a call.
    """

    call: Callable[[], Any]
    run: str
    work: tuple[str, str]
    steps: int
    flops: float


def flops_of_step(name: str) -> int:
    """Return the floating-point operations of a training step's products."""
    first, rest = _MULTIPLY_ADDS[name]
    return 2 * BATCH * (2 * first + 3 * rest)


def draw(steps: int) -> Batches:
    """Return random batches as NumPy arrays."""
    rng = np.random.default_rng(0)
    return Batches(
        rng.standard_normal((steps, BATCH, *SHAPE), np.float32),
        rng.integers(0, CLASSES, (steps, BATCH), np.int32),
    )


def trainer(
    name: str, **options: Any
) -> Callable[[Any, Batches, Any], tuple[Any, Array]]:
    """Return ``train(params, batches, offset) -> (params, last loss)``.

    ``offset`` is the batch to begin with, so that seeds see the data in turns of
    their own. ``options`` are the network's.
    """
    _, apply_fn = models.build(name, CLASSES, SHAPE, **options)

    def loss(params: Any, image: Array, label: Array) -> Array:
        scores = jax.nn.log_softmax(apply_fn(params, image))
        return -jnp.take_along_axis(scores, label[:, None], axis=1).mean()

    def train(params: Any, batches: Batches, offset: Any) -> tuple[Any, Array]:
        steps = batches.label.shape[0]

        def step(params: Any, index: Array) -> tuple[Any, Array]:
            at = (index + offset) % steps
            image, label = batches.image[at], batches.label[at]
            value, gradient = jax.value_and_grad(loss)(params, image, label)
            return jax.tree.map(lambda p, g: p - RATE * g, params, gradient), value

        params, losses = lax.scan(step, params, jnp.arange(steps))
        return params, losses[-1]

    return train


def torch_trainer(name: str, params: Any, batches: Batches) -> Callable[[], float]:
    """Return the same training in PyTorch: a function that gives the last loss.

    Each call goes on from where the former ended, as a training loop does.

    Raises:
        ImportError: if PyTorch is not installed.
    """
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = _torch_network(name, nn)
    _copy_parameters(name, params, network, torch)
    images = torch.from_numpy(np.ascontiguousarray(np.moveaxis(batches.image, -1, 2)))
    labels = torch.from_numpy(batches.label.astype(np.int64))
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def train() -> float:
        for image, label in zip(images, labels, strict=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(image), label)
            loss.backward()
            optimizer.step()
        return loss.item()

    return train


def _torch_network(name: str, nn: Any) -> Any:
    """Return the network in PyTorch's own layers."""
    if name == "lenet300":
        sizes = (784, 300, 100, CLASSES)
        layers = [nn.Flatten()]
        for inputs, units in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, units), nn.ReLU()]
        return nn.Sequential(*layers[:-1])
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, CLASSES)),
    )


def _copy_parameters(name: str, params: Any, network: Any, torch: Any) -> None:
    """Give the PyTorch network the JAX parameters, in its layouts."""
    layers = [layer for layer in network if hasattr(layer, "weight")]
    for layer, key in zip(layers, sorted(params), strict=True):
        kernel = np.asarray(params[key]["kernel"])
        if kernel.ndim == 4:
            kernel = kernel.transpose(3, 2, 0, 1)
        elif name == "lenet5" and key == "Dense_0":
            # Flax flattens (row, column, filter), PyTorch (filter, row, column).
            kernel = kernel.reshape(16, 50, -1).swapaxes(0, 1).reshape(800, -1).T
        else:
            kernel = kernel.T
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel.copy()))
            layer.bias.copy_(torch.from_numpy(np.array(params[key]["bias"])))


def network_cases(name: str, steps: int, with_torch: bool) -> list[Case]:
    """Return the cases of one network: ours and, if asked for, PyTorch's.

    Raises:
        RuntimeError: if the two frameworks do not reach the same loss.
    """
    init_fn, _ = models.build(name, CLASSES, SHAPE)
    host_batches = draw(steps)
    batches = jax.device_put(host_batches)
    params = jax.jit(init_fn)(jax.random.key(0))
    train = jax.jit(trainer(name))
    work, flops = f"{name} JAX", float(steps * flops_of_step(name))
    ours = [Case(lambda: train(params, batches, 0), "JAX", (work, work), steps, flops)]
    if name == "lenet5":
        winograd = jax.jit(trainer(name, conv="winograd"))
        call, label = lambda: winograd(params, batches, 0), f"{work}, winograd"
        ours.append(Case(call, "JAX", (label, work), steps, flops))
    if not with_torch:
        return ours
    theirs = torch_trainer(name, params, host_batches)
    loss, expected = theirs(), float(train(params, batches, 0)[1])
    if not np.isclose(loss, expected, rtol=1e-2):
        raise RuntimeError(f"{name}: PyTorch's loss is {loss}, ours {expected}")
    return [*ours, Case(theirs, "PyTorch", (f"{name} PyTorch", work), steps, flops)]


def seed_cases(steps: int, counts: Sequence[int]) -> list[Case]:
    """Return LeNet-300-100 trained from several seeds in one call, in two ways."""
    init_fn, _ = models.build("lenet300", CLASSES, SHAPE)
    train, batches = trainer("lenet300"), jax.device_put(draw(steps))

    @jax.jit
    def mapped(params: Any, offsets: Array, batches: Batches) -> Any:
        return lax.map(lambda seed: train(seed[0], batches, seed[1]), (params, offsets))

    vmapped = jax.jit(jax.vmap(train, in_axes=(0, None, 0)))
    base, cases = "lenet300 JAX", []
    for count in counts:
        params = jax.jit(jax.vmap(init_fn))(jax.random.split(jax.random.key(0), count))
        offsets = jnp.arange(count)
        flops = float(count * steps * flops_of_step("lenet300"))
        by_vmap = lambda p=params, o=offsets: vmapped(p, batches, o)
        by_map = lambda p=params, o=offsets: mapped(p, o, batches)
        for way, call in (("vmap", by_vmap), ("lax.map", by_map)):
            work = f"lenet300 {count} seeds {way}"
            cases.append(Case(call, f"JAX, {way}", (work, base), steps, flops))
    return cases


def matmul_case(size: int = MATMUL) -> Case:
    """Return a product of two large square matrices: the rate within reach."""
    a, b = jax.random.normal(jax.random.key(0), (2, size, size))
    product = jax.jit(jnp.matmul)
    work = f"matmul {size}"
    return Case(lambda: product(a, b), "JAX", (work, work), 1, 2.0 * size**3)


def run(
    steps: dict[str, int], counts: Sequence[int], repeats: int, with_torch: bool
) -> list[dict[str, Any]]:
    """Time everything in turns.

    Args:
        steps: training steps in a call, by network.
        counts: numbers of seeds.
        repeats: timed rounds.
        with_torch: whether to time PyTorch too.

    Returns:
        One row per case: milliseconds per step (all seeds of a call together), steps
        per second, rate, and the best time as a multiple of its base's.

    Raises:
        RuntimeError: if PyTorch and JAX do not reach the same loss.
    """
    cases = [
        case for name in steps for case in network_cases(name, steps[name], with_torch)
    ]
    cases += seed_cases(steps["lenet300"], counts)
    cases.append(matmul_case())
    calls = {case.work[0]: case.call for case in cases}
    times = harness.measure(calls, repeats=repeats)
    per_step = {case.work[0]: times[case.work[0]].best / case.steps for case in cases}
    return [
        {
            "work": work,
            "best_ms": 1e3 * per_step[work],
            "median_ms": 1e3 * times[work].median / case.steps,
            "steps_per_s": 1 / per_step[work],
            "gflops": case.flops / times[work].best / 1e9,
            "times": per_step[work] / per_step[base],
            "that_of": base,
        }
        for case in cases
        for work, base in [case.work]
    ]


def has_torch() -> bool:
    """Say whether PyTorch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/training.json")
    parser.add_argument("--steps300", type=int, default=100, help="steps in a call")
    parser.add_argument("--steps5", type=int, default=20, help="steps in a call")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(arguments)
    with_torch = has_torch()
    if not with_torch:
        print(
            "PyTorch is not installed, so JAX is timed alone; to compare: "
            "pip install 'synaptax[bench]'"
        )
    steps = {"lenet300": options.steps300, "lenet5": options.steps5}
    rows = run(steps, options.seeds, options.repeats, with_torch)
    print(harness.table(rows))
    print(f"written to {harness.write(options.out, rows)}")


if __name__ == "__main__":
    main()

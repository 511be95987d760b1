"""Hessian-vector products and Lanczos steps: against curvlinops and PyHessian.

Run with ``python -m analysis.benchmarks.curvature``. LeNet-5's cross-entropy over the
same MNIST images, in the same batches, on the same cores, from the same parameters:

``hvp``
    one product over the data set with the same vector. All three must give the same
    <v, H v>.
``lanczos``
    20 Lanczos steps over the data set. Ours re-orthogonalises fully and ends with a
    guard; curvlinops' does not re-orthogonalise, PyHessian's does. (PyHessian 0.1
    calls ``torch.eig``, which torch 2 dropped; our worker supplies it.)

The peers run in an interpreter of their own, given by ``--peers PYTHON`` (by default
this one), which needs torch 2.13, curvlinops-for-pytorch and pyhessian; without them
ours is timed alone. Rounds alternate, so that a slow moment of the machine falls on
all alike; core-seconds, the time of all cores, do not count what other processes take.
``fraction`` is of the rate of a product of two float32 matrices, measured in the same
run, on a CPU both by the time of all cores; operations are those of XLA's cost analysis
of our product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from analysis import lanczos, operators
from synaptax import data
from synaptax.nets import lenets, models
from synaptax.reports import harness

STEPS = 20


class Timing(NamedTuple):
    """One call: wall time, time of all cores, and a number from the result."""

    seconds: float
    core_seconds: float
    value: float


Task = Callable[[], Timing]


def lenet5(count: int, dataset: str) -> tuple[Any, Any, tuple[Any, Any]]:
    """Return LeNet-5's mean loss, its initial parameters and (images, labels)."""
    train = data.load(dataset).train
    images, labels = train.image[:count], train.label[:count]
    conv = lenets.fastest()
    init_fn, apply_fn = models.build("lenet5", 10, images.shape[1:], conv=conv)

    def loss(params: Any, part: Any) -> Any:
        y = apply_fn(params, part[0])
        return optax.softmax_cross_entropy_with_integer_labels(y, part[1]).mean()

    params = jax.jit(init_fn)(jax.random.key(0))
    return loss, params, (jnp.asarray(images), jnp.asarray(labels))


def in_torch_order(tree: Any) -> list[np.ndarray]:
    """Return LeNet-5's leaves in PyTorch's order and layouts."""
    leaves = []
    for name in ("Conv_0", "Conv_1", "Dense_0", "Dense_1"):
        kernel = np.asarray(tree[name]["kernel"])
        if kernel.ndim == 4:
            # HWIO to OIHW
            kernel = kernel.transpose(3, 2, 0, 1)
        elif name == "Dense_0":
            # Flax flattens (row, column, filter), PyTorch (filter, row, column).
            kernel = kernel.reshape(16, 50, -1).swapaxes(0, 1).reshape(800, -1).T
        else:
            kernel = kernel.T
        leaves += [np.ascontiguousarray(kernel), np.asarray(tree[name]["bias"])]
    return leaves


def ours(operator: operators.Operator, v: Any) -> dict[str, Task]:
    """Return our tasks: each does its work and returns what it took."""
    product = jax.jit(lambda matvec, v: v @ matvec(v))

    @jax.jit
    def largest(matvec: Any, v: Any) -> Any:
        return lanczos.eigen(lanczos.run(matvec, v, STEPS))[0].max()

    def timed(function: Any) -> Task:
        def call() -> Timing:
            start, busy = time.perf_counter(), time.process_time()
            value = jax.block_until_ready(function(operator.matvec, v))
            seconds = time.perf_counter() - start
            return Timing(seconds, time.process_time() - busy, float(value))

        return call

    return {"synaptax hvp": timed(product), "synaptax lanczos": timed(largest)}


class Peers:
    """The PyTorch side, in another process.

    Args:
        python: the interpreter.
        problem: an ``.npz`` as :mod:`analysis.benchmarks.torch_peers` reads it.
        batch: examples at a time.
    """

    def __init__(self, python: str, problem: Path, batch: int) -> None:
        script = Path(__file__).with_name("torch_peers.py")
        self._process = subprocess.Popen(
            [python, str(script), str(problem), str(batch), str(STEPS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tasks(self) -> dict[str, Task]:
        """Return the tasks that the process offers; none if it cannot start."""
        answer = self._answer()
        names = answer["tasks"] if answer else []
        return {name: lambda name=name: self._time(name) for name in names}

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # Other lines are what the peers print themselves.
            if line.startswith("{"):
                return json.loads(line)
        return None

    def _time(self, name: str) -> Timing:
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer is None:
            raise RuntimeError(f"the peers' process ended during {name!r}")
        return Timing(**answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def rows_of(timings: Mapping[str, Sequence[Timing]]) -> list[dict[str, Any]]:
    """Return one row a task: times, rate and how many times ours it takes."""
    best = {
        name: Timing(*map(min, zip(*runs, strict=True)))
        for name, runs in timings.items()
    }
    rows = []
    for name, runs in timings.items():
        by, task = name.split(" ")
        mine, products = best[f"synaptax {task}"], STEPS if task == "lanczos" else 1
        rows.append(
            {
                "task": task,
                "by": by,
                "best_s": best[name].seconds,
                "median_s": statistics.median(run.seconds for run in runs),
                "core_s": best[name].core_seconds,
                "products_per_core_s": products / best[name].core_seconds,
                "times_ours": best[name].seconds / mine.seconds,
                "times_ours_cores": best[name].core_seconds / mine.core_seconds,
            }
        )
    return sorted(rows, key=lambda row: row["task"])


def with_rates(
    rows: list[dict[str, Any]], flops: float, peak: float, seconds: str
) -> list[dict[str, Any]]:
    """Add the operations a second of each row, and their fraction of the peak.

    Args:
        rows: of :func:`rows_of`.
        flops: operations of a product.
        peak: operations a second that the device reaches.
        seconds: the column of times that counts.
    """
    for row in rows:
        products = STEPS if row["task"] == "lanczos" else 1
        row["gflop_s"] = products * flops / row[seconds] / 1e9
        row["fraction"] = 1e9 * row["gflop_s"] / peak
    return rows


def peak_rate(clock: Callable[[], float], side: int = 2048) -> float:
    """Return the operations a second of a product of two square float32 matrices."""
    product, one = {"": jax.jit(lambda a: a @ a)}, jnp.ones((side, side))
    return 2 * side**3 / harness.measure(product, one, repeats=5, clock=clock)[""].best


def check_agreement(values: Mapping[str, float]) -> None:
    """Raise a RuntimeError unless all products agree to 1e-3."""
    reference = values["synaptax hvp"]
    for name, value in values.items():
        if name.endswith("hvp") and not np.isclose(value, reference, rtol=1e-3):
            raise RuntimeError(f"{name}: <v, H v> is {value}, ours {reference}")


def run(
    count: int, batch: int, repeats: int, peers: str, dataset: str
) -> list[dict[str, Any]]:
    """Time every task in turns; see :func:`main`."""
    loss, params, examples = lenet5(count, dataset)
    operator = operators.hessian(loss, params, examples, batch=batch)
    # In one batch: of a loop the analysis counts one pass.
    whole = operators.hessian(loss, params, examples, batch=count)
    v = jax.random.normal(jax.random.key(1), (operator.size,))
    tasks = ours(operator, v)
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder) / "problem.npz"
        direction = in_torch_order(operator.unravel(v))
        stored: dict[str, Any] = {
            "x": np.moveaxis(np.asarray(examples[0]), -1, 1),
            "label": np.asarray(examples[1], np.int64),
            "v": np.concatenate([leaf.ravel() for leaf in direction]),
        }
        for i, leaf in enumerate(in_torch_order(params)):
            stored[f"p{i}"] = leaf
        np.savez(problem, **stored)
        other = Peers(peers, problem, batch)
        tasks |= other.tasks()
        if len(tasks) == 2:
            print("no peers: they need pip install 'synaptax[bench]'")
        check_agreement({name: task().value for name, task in tasks.items()})
        timings: dict[str, list[Timing]] = {name: [] for name in tasks}
        for _ in range(repeats):
            for name, task in tasks.items():
                timings[name].append(task())
        other.close()
    analysis = jax.jit(whole.matvec).lower(v).cost_analysis()
    assert analysis is not None
    cpu = jax.default_backend() == "cpu"
    peak = peak_rate(time.process_time if cpu else time.perf_counter)
    seconds = "core_s" if cpu else "best_s"
    return with_rates(rows_of(timings), float(analysis["flops"]), peak, seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="runs/benchmarks/curvature.json")
    parser.add_argument(
        "--peers", default=sys.executable, help="interpreter with torch"
    )
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    o = parser.parse_args(arguments)
    rows = run(o.examples, o.batch, o.repeats, o.peers, o.dataset)
    print(harness.table(rows))
    print(f"written: {harness.write(o.out, rows)}")


if __name__ == "__main__":
    main()

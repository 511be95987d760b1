"""The PyTorch side of :mod:`analysis.benchmarks.curvature`, in a process of its own.

It needs torch, curvlinops-for-pytorch and pyhessian, and nothing of ours, so that
another interpreter can run it. It reads a problem (``.npz``: ``x``, ``label``, ``v``
and the parameters ``p0`` ... ``p7`` in PyTorch's order and layouts), then commands on
standard input, a peer and a task a line, and answers each with one line of JSON: the
seconds and core-seconds it took and a number that depends on the result.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def network(problem: Any, torch: Any) -> Any:
    """Return LeNet-5 with the problem's parameters."""
    nn = torch.nn
    model = nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(torch.from_numpy(problem[f"p{i}"]))
    return model.eval()


def supply_eig(torch: Any) -> None:
    """Give PyHessian 0.1 the ``torch.eig`` that it calls and torch 2 dropped."""

    def eig(matrix: Any, eigenvectors: bool) -> Any:
        del eigenvectors
        values, vectors = torch.linalg.eigh(matrix)
        return torch.stack([values, torch.zeros_like(values)], dim=1), vectors

    torch.eig = eig


def tasks(path: str, batch: int, steps: int) -> dict[str, Callable[[], float]]:
    """Return "peer task" to a function that does it and returns a number.

    Args:
        path: the problem.
        batch: examples at a time.
        steps: Lanczos steps.
    """
    import torch
    from curvlinops import HessianLinearOperator
    from curvlinops.papyan2020traces.spectrum import fast_lanczos
    from pyhessian import hessian

    supply_eig(torch)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    problem = np.load(path)
    model = network(problem, torch)
    x = torch.from_numpy(problem["x"]).split(batch)
    label = torch.from_numpy(problem["label"]).split(batch)
    data = list(zip(x, label, strict=True))
    v = torch.from_numpy(problem["v"])
    parameters = list(model.parameters())
    pieces = [
        piece.reshape(p.shape)
        for piece, p in zip(v.split([p.numel() for p in parameters]), parameters,
                            strict=True)
    ]  # fmt: skip
    loss = torch.nn.CrossEntropyLoss()
    linear = HessianLinearOperator(
        model, loss, parameters, data, check_deterministic=False
    )
    wrapped = hessian(model, loss, dataloader=data, cuda=False)

    def both(task: str) -> float:
        if task == "hvp":
            return float(v @ (linear @ v))
        return float(fast_lanczos(linear, steps)[0].max())

    def pyhessian(task: str) -> float:
        if task == "hvp":
            return float(wrapped.dataloader_hv_product(pieces)[0])
        return float(max(wrapped.density(iter=steps, n_v=1)[0][0]))

    return {
        f"{name} {task}": lambda run=run, task=task: run(task)
        for name, run in (("curvlinops", both), ("pyhessian", pyhessian))
        for task in ("hvp", "lanczos")
    }


def main(arguments: list[str]) -> None:
    """Answer commands until standard input ends."""
    path, batch, steps = arguments
    functions = tasks(path, int(batch), int(steps))
    print(json.dumps({"tasks": sorted(functions)}), flush=True)
    for line in sys.stdin:
        start, busy = time.perf_counter(), time.process_time()
        value = functions[line.strip()]()
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        answer = {"seconds": seconds, "core_seconds": busy, "value": value}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

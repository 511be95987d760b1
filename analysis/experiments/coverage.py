"""How often intervals hold what they say: 1,000 random matrices of each of four kinds.

Command: ``python -m analysis.experiments.coverage``. Nominal is 95 %; a share of 1,000
has a standard error of 0.7 points. The truth comes from the dense matrix.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from analysis import curvature, operators, spectrum, sums
from analysis.experiments._minima import RECORDED
from synaptax.reports.tables import markdown
from synaptax.runs import read_json, write_json
from synaptax.runs.machine import environment
from synaptax.typing import Array

KINDS = ("wishart", "goe", "low rank", "outliers and bulk")
SIZE = 48
DAMPING = 0.1
RECORD = RECORDED / "coverage.json"
_EPS = 1e-5  # of the sum of absolute eigenvalues: rounding in float32


def matrix(kind: str, rng: np.random.Generator, size: int = SIZE) -> np.ndarray:
    """Return a random symmetric matrix, float32."""
    x = rng.normal(size=(size, size))
    if kind == "goe":
        dense = (x + x.T) / np.sqrt(2 * size)
    elif kind == "low rank":
        thin = rng.normal(size=(size, 4))
        dense = thin @ thin.T / size
    else:
        wide = rng.normal(size=(size, 2 * size))
        dense = wide @ wide.T / (2 * size)
        if kind == "outliers and bulk":
            three = np.linalg.qr(rng.normal(size=(size, 3)))[0]
            dense = dense + 50 * three @ three.T
    return np.asarray((dense + dense.T) / 2, np.float32)


def times(matrix: Array, v: Array) -> Array:
    """Return the product."""
    return matrix @ v


def intervals(dense: np.ndarray, key: Array) -> dict[str, tuple[float, float, float]]:
    """Return (low, high, truth) of every estimate that the matrix allows."""
    product = jax.tree_util.Partial(times, jnp.asarray(dense))
    operator = operators.from_matvec(product, dense.shape[0])
    values = np.linalg.eigvalsh(dense.astype(np.float64))
    trace = lambda **o: curvature.trace(operator, key, **o).interval()
    result = {
        "trace, 8 probes": (*trace(probes=8), values.sum()),
        "trace, 8 probes, not deflated": (*trace(probes=8, deflate=0), values.sum()),
        "trace, 32 probes": (*trace(probes=32), values.sum()),
        "mass above the mean": _mass(operator, key, values),
    }
    # Positive semi-definite but for float32's rounding: only of these there is a
    # logarithm.
    if values.min() > -1e-4:
        for name, function, truth in (
            ("log-determinant", sums.log_determinant, np.log(values + DAMPING)),
            (
                "effective dimension",
                sums.effective_dimension,
                values / (values + DAMPING),
            ),
        ):
            estimate = function(operator, key, damping=DAMPING, steps=SIZE)
            result[name] = (*estimate.interval(), truth.sum())
    return result


def _mass(
    operator: operators.Operator, key: Array, values: np.ndarray
) -> tuple[float, float, float]:
    """Return the share of eigenvalues above their mean, with Student's interval."""
    probes = 16
    rules = spectrum.spectral_density(operator, key, steps=SIZE, probes=probes)
    # Half way between two eigenvalues, so that rounding moves none across.
    above = np.sort(values)[np.searchsorted(np.sort(values), values.mean()) - 1 :][:2]
    share, error = spectrum.mass(rules, float(above.mean()), np.inf)
    half = float(stats.t.ppf(0.975, probes - 1)) * error
    return share - half, share + half, float(np.mean(values > above.mean()))


def run(count: int) -> list[dict[str, Any]]:
    """Return a row for each kind and estimate: how many of ``count`` intervals held."""
    rows = []
    for place, kind in enumerate(KINDS):
        hits: dict[str, int] = {}
        rng = np.random.default_rng(place)
        for turn in range(count):
            dense = matrix(kind, rng)
            slack = _EPS * np.abs(np.linalg.eigvalsh(dense)).sum() + _EPS * SIZE
            for name, (low, high, truth) in intervals(
                dense, jax.random.key(turn)
            ).items():
                hit = low - slack <= truth <= high + slack
                hits[name] = hits.get(name, 0) + int(hit)
        rows += [
            {"matrices": kind, "estimate": name, "held": n, "of": count}
            for name, n in hits.items()
        ]
    return rows


def sections() -> list[str]:
    """Return the recorded table as Markdown lines."""
    if not RECORD.exists():
        return []
    record = read_json(RECORD)
    names = dict.fromkeys(row["estimate"] for row in record["rows"])
    share = {
        (row["matrices"], row["estimate"]): f"{100 * row['held'] / row['of']:.1f}"
        for row in record["rows"]
    }
    body = [[name, *(share.get((kind, name), "-") for kind in KINDS)] for name in names]
    return [
        "## How often intervals hold what they say",
        "",
        "Of intervals at nominal 95 %, the share in percent that held the truth of "
        f"the dense matrix: {record['rows'][0]['of']:,} random {SIZE} x {SIZE} "
        "matrices of each kind (a share's own standard error is 0.7 points), damping "
        f"{DAMPING:g}. A dash: eigenvalues below zero, of which there is no logarithm.",
        "",
        *markdown(("estimate", *KINDS), body),
        "",
        f"`{record['command']}`, {record['wall_s']:.0f} s, "
        f"jax {record['versions']['jax']}.",
        "",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    record = {
        "experiment": "coverage",
        "command": "python -m analysis.experiments.coverage",
        "rows": run(options.count),
        "wall_s": round(time.monotonic() - started, 1),
        **environment(),
    }
    if options.count == 1000:
        write_json(RECORD, record)
    for row in record["rows"]:
        print(row)


if __name__ == "__main__":
    main()

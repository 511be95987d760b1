"""The rows of RESULTS.md on sensitivity and on PSP, computed from the records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from pruning.experiments import _psp_cells, _results_deep
from pruning.experiments._results_psp import errors_by_seed
from pruning.experiments._variants import RECORDED, moments
from synaptax.reports.results import Finding, Miss, Picture, Ratio
from synaptax.runs import read_json

_FOLDER = "pruning/experiments/recorded"

_PICTURES = (
    Picture(
        f"{_FOLDER}/lenet300_mnist-frontier.png",
        "**Sensitivity (1810.11764).** Test error against compression of LeNet-300-100 "
        "on MNIST, mean and standard error of 5 seeds (4 at one point); stars: the "
        "paper's figures as remembered. Gradual methods end together; one cut does "
        "not.",
        "sensitivity",
        headline=True,
    ),
    Picture(
        f"{_FOLDER}/psp_mnist-curves.png",
        "**PSP (1907.08544).** LeNet-5 on MNIST under five regularisers, mean and "
        "range over seeds: test error, test cross-entropy, and the penalty R (mean "
        "over layers of the mean squared pre-activation).",
        "psp",
        headline=True,
    ),
    Picture(
        f"{_FOLDER}/psp_fashion-curves.png",
        "LeNet-5 on Fashion-MNIST under five regularisers, mean and range over seeds.",
        "psp",
    ),
    Picture(
        f"{_FOLDER}/psp_mnist-layers.png",
        "Mean squared pre-activation of each layer of LeNet-5 on the MNIST test set, "
        "mean and range over seeds.",
        "psp",
    ),
    Picture(
        f"{_FOLDER}/psp_mnist-weights.png",
        "The weights of LeNet-5's second convolution after 50 epochs on MNIST, seed 0 "
        "of each regulariser.",
        "psp",
    ),
    *(
        Picture(
            f"{_FOLDER}/psp_deep-{network}-{kind}.png",
            f"{name}, narrow, with batch-norm, 10,000 images of a JPEG copy of "
            f"CIFAR-10: {what}",
            "psp",
        )
        for network, name in _results_deep.NETWORKS.items()
        for kind, what in (
            ("curves", "validation error and loss, and R, mean and range over seeds."),
            ("layers", "mean z² by layer on validation, mean and range over seeds."),
            ("weights", "the second convolution's weights, seed 0."),
        )
    ),
)


def pictures() -> tuple[Picture, ...]:
    """Return the recorded figures that are there."""
    return tuple(p for p in _PICTURES if (RECORDED / Path(p.path).name).exists())


def point(variant: str, target: float) -> Mapping[str, Any]:
    """Return one operating point of a recorded frontier."""
    frontier = read_json(RECORDED / f"{variant}.json")["frontier"]
    return next(p for p in frontier if p["target"] == target)


def _at(variant: str, target: float) -> tuple[str, tuple[float, ...]]:
    """Return (text, numbers) of an operating point's compression and test error."""
    values = point(variant, target)
    ratio = values["compression"]["mean"]
    error, spread = (100 * values["test_error"][key] for key in ("mean", "se"))
    text = f"{error:.2f} ± {spread:.2f} % at {ratio:.1f}x ({values['seeds']} seeds)"
    return text, (error, spread, ratio)


def _missed(variant: str, target: float, remembered: float) -> str:
    """Return a verdict on a remembered error: within two standard errors, or not."""
    error = point(variant, target)["test_error"]
    gap = 100 * error["mean"] - remembered
    if gap <= 0:
        return "reached"
    # Two standard errors; a gap is in points, an error a fraction.
    if gap <= 200 * error["se"]:
        return f"{gap:.2f} points above, within 2 standard errors"
    return f"missed by {gap:.2f} points"


def frontier() -> tuple[Finding, ...]:
    """Return the rows on arXiv 1810.11764."""
    rows = [
        ("LeNet-300, MNIST, 27.87x", "1.65 % (MEM)", "lenet300_mnist", 27.0, 1.65),
        ("LeNet-300, MNIST, 103x", "1.95 % (MEM)", "lenet300_mnist", 100.0, 1.95),
        ("LeNet-5, MNIST, 51.1x", "0.78 % (MEM)", "lenet5_mnist", 50.0, 0.78),
        (
            "LeNet-5, Fashion-MNIST, 11.74x",
            "8.5 % (MEM, low confidence)",
            "lenet5_fashion",
            11.0,
            8.5,
        ),
    ]
    findings = []
    for claim, paper, experiment, target, remembered in rows:
        variant = f"{experiment}-unspecific"
        text, values = _at(variant, target)
        findings.append(
            Finding(
                f"Sensitivity: {claim}",
                paper,
                text,
                _missed(variant, target, remembered),
                "sensitivity",
                values,
                (f"{_FOLDER}/{variant}.json",),
            )
        )
    findings.append(
        Finding(
            "Sensitivity: in some cases twice the sparsity at equal error",
            "(ABS)",
            "no rival was run",
            "not tested",
            "sensitivity",
            (),
            (),
        )
    )
    names = {"unspecific": "unspecific", "specific": "specific"}
    names |= {"l2": "plain decay", "one-shot": "one cut"}
    texts, values = [], []
    for variant, name in names.items():
        text, numbers = _at(f"lenet300_mnist-{variant}", 27.0)
        texts.append(f"{name} {text.removesuffix(' (5 seeds)')}")
        values += numbers
    findings.append(
        Finding(
            "Sensitivity prunes better than most methods of its time",
            "(ABS)",
            "; ".join(texts) + " (5 seeds each)",
            "rivals of its time not run; among ours the gradual ones end alike",
            "sensitivity",
            tuple(values),
            tuple(f"{_FOLDER}/lenet300_mnist-{variant}.json" for variant in names),
        )
    )
    return tuple(findings)


def _errors(experiment: str, since: int | None) -> dict[str, dict[int, float]]:
    """Return each regulariser's test error in percent by seed."""
    cells = _psp_cells.read(RECORDED, experiment)
    names = dict.fromkeys(cell["variant"] for cell in cells)
    return {
        name: errors_by_seed([c for c in cells if c["variant"] == name], since)
        for name in names
    }


def _better(experiment: str, since: int | None, claim: str, logs: str) -> Finding:
    """Return the row on PSP's error against that of the others, seed by seed."""
    errors = _errors(experiment, since)
    own = moments(list(errors["psp"].values()))
    values: list[Any] = [own["mean"], own["se"]]
    parts, lower = [f"PSP {own['mean']:.3f} ± {own['se']:.3f} %"], True
    for name in ("l2", "none", "dropout"):
        gaps = [errors[name][s] - e for s, e in errors["psp"].items()]
        over = moments(gaps)
        lower &= min(gaps) > 0
        values += [over["mean"], over["se"]]
        parts.append(f"{name} {over['mean']:+.3f} ± {over['se']:.3f}")
    seeds = len(errors["psp"])
    return Finding(
        claim,
        logs,
        f"{'; '.join(parts)} points with the same seed ({seeds} seeds)",
        "holds in every seed" if lower else "not in every seed",
        "psp",
        tuple(values),
        tuple(
            f"{_FOLDER}/{experiment}-{name}-{seed}.json"
            for name in ("psp", "l2", "none", "dropout")
            for seed in errors["psp"]
        ),
    )


def penalty() -> tuple[Finding, ...]:
    """Return the rows on arXiv 1907.08544."""
    cells = _psp_cells.read(RECORDED, "psp_mnist")
    names = ("psp", "l2", "none")
    own = {name: [c for c in cells if c["variant"] == name] for name in names}
    sizes = {name: fmean(c["penalty"] for c in own[name]) for name in names}
    seeds = sorted({c["seed"] for c in own["psp"]})
    ordered = sizes["psp"] < sizes["l2"] < sizes["none"]
    return (
        _better(
            "psp_mnist",
            None,
            "PSP errs less than L2 on MNIST (LeNet-5, epoch 50)",
            "PSP 0.57, L2 0.74, none 0.75, dropout 0.65 % (LOG)",
        ),
        _better(
            "psp_fashion",
            31,
            "PSP errs less on Fashion-MNIST (LeNet-5, mean of epochs 31 to 150)",
            "PSP 7.88, L2 8.28, none 8.13, dropout 8.22 % (LOG)",
        ),
        Finding(
            "PSP keeps pre-activations small: R at epoch 50, MNIST",
            "PSP 4.6, L2 39, none 76 (LOG)",
            "; ".join(f"{name} {size:.1f}" for name, size in sizes.items())
            + f" ({len(seeds)} seeds each)",
            "holds" if ordered else "does not hold",
            "psp",
            tuple(sizes.values()),
            tuple(
                f"{_FOLDER}/psp_mnist-{n}-{c['seed']}.json"
                for n in names
                for c in own[n]
            ),
        ),
        _results_deep.finding(),
    )


def _rows(name: str) -> tuple[list[Mapping[str, Any]], str]:
    """Return (rows, machine) of a recorded benchmark."""
    record = read_json(RECORDED / f"benchmark-{name}.json")
    device = record["device"]
    return record["rows"], f"{device['kind']}, {device['cores']} core(s)"


def _ratio(name: str, what: str, ours: Any, other: Any, than: str) -> Ratio:
    """Return a row of the performance table from two rows of a benchmark."""
    rows, machine = _rows(name)
    (one,), (two,) = ([r for r in rows if match(r)] for match in (ours, other))
    return Ratio(
        what,
        f"{one['best_ms']:.3g} ms",
        f"{than}, {two['best_ms']:.3g} ms",
        f"{one['best_ms'] / two['best_ms']:.2f} of its time",
        machine,
        f"{_FOLDER}/benchmark-{name}.json",
    )


def ratios() -> tuple[Ratio, ...]:
    """Return the rows of the performance table."""
    rows = []
    for network, title in (("lenet300", "LeNet-300"), ("lenet5", "LeNet-5")):
        for way, kind in (("taps", "unspecific"), ("taps, specific", "specific")):
            rows.append(
                _ratio(
                    "sensitivity",
                    f"Exact sensitivity, {kind}, {title}, batch 100",
                    lambda r, n=network, w=way: (r["network"], r["way"]) == (n, w),
                    lambda r, n=network: (r["network"], r["way"]) == (n, "gradient"),
                    "a gradient of the loss",
                )
            )
        rows.append(
            _ratio(
                "step",
                f"The same decay, refreshed every 10 steps, {title}",
                lambda r, n=network: (
                    (r["network"], r["chain"]) == (n, "the same, refresh=10")
                ),
                lambda r, n=network: (r["network"], r["chain"]) == (n, "sgd"),
                "a step of SGD",
            )
        )
        rows.append(
            _ratio(
                "step",
                f"A step with unspecific decay, {title}",
                lambda r, n=network: (
                    (r["network"], r["chain"]) == (n, "sensitivity_decay, unspecific")
                ),
                lambda r, n=network: (r["network"], r["chain"]) == (n, "sgd"),
                "a step of SGD",
            )
        )
    rows.append(
        _ratio(
            "selection",
            "Exact top-k mask of 10 million scores",
            lambda r: (r["way"], r["scores"]) == ("bisection", 10_000_000),
            lambda r: (r["way"], r["scores"]) == ("sort", 10_000_000),
            "a sort",
        )
    )
    for work, title, peer in (
        ("lenet300 JAX", "LeNet-300", "lenet300 PyTorch"),
        ("lenet5 JAX, winograd", "LeNet-5, minimal filtering", "lenet5 PyTorch"),
        ("lenet5 JAX", "LeNet-5, by patches", "lenet5 PyTorch"),
    ):
        rows.append(
            _ratio(
                "training",
                f"A training step, {title}",
                lambda r, w=work: r["work"] == w,
                lambda r, p=peer: r["work"] == p,
                "PyTorch",
            )
        )
    for penalty_, title in (
        ("with_psp", "in the loss"),
        ("psp_regularization", "as a transform"),
    ):
        rows.append(
            _ratio(
                "psp",
                f"A step with the PSP penalty {title}, LeNet-5",
                lambda r, p=penalty_: r["penalty"] == p,
                lambda r: r["penalty"] == "none",
                "a plain step",
            )
        )
    rows.append(
        _ratio(
            "psp@cpu",
            "A step with the PSP penalty in the loss, ResNet-20",
            lambda r: (r["network"], r["penalty"]) == ("resnet20", "with_psp"),
            lambda r: (r["network"], r["penalty"]) == ("resnet20", "none"),
            "a plain step",
        )
    )
    return tuple(rows)


def misses() -> tuple[Miss, ...]:
    """Return what was aimed at and not reached."""
    near, far = (_missed("lenet300_mnist-unspecific", t, e) for t, e in _REMEMBERED)
    return (
        Miss(
            f"LeNet-300 at 27.87x ({near}) and 103x ({far})",
            "the procedure (a plateau rule that cuts against a rising validation loss "
            "and drops the decay in tuning), not the budget: single seeds, looked at "
            "on the test set and not recorded here, reached 1.65 to 1.70 % at 27.8x on "
            "a schedule with decay kept on",
            False,
        ),
        Miss(
            "PSP on CIFAR-10 at full size",
            "it was planned for a GPU and no machine with one was there",
            True,
        ),
        Miss(
            "L1's error on MNIST is 0.3 points above the authors' log",
            "how their code adds L1 is not in the part of it that was read",
            False,
        ),
    )


_REMEMBERED = ((27.0, 1.65), (100.0, 1.95))

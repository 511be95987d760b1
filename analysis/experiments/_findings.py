"""The rows of RESULTS.md on the minima of pruned networks, from the records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from analysis.experiments._minima import RECORDED
from analysis.minima.claims import TEXTS
from synaptax.reports.results import Finding, Miss, Picture, Ratio
from synaptax.runs import read_json

_FOLDER = "analysis/experiments/recorded"
#: experiment: what it is, in a few words.
EXPERIMENTS = {
    "minima_lenet300_digits": "LeNet-300, digits",
    "minima_lenet300_mnist": "LeNet-300, MNIST",
    "minima_lenet5_mnist": "LeNet-5, MNIST, 8 to 23x",
    "minima_lenet5_mnist_sparse": "LeNet-5, MNIST, 313 to 485x",
    "minima_resnet32_cifar10_reduced": "ResNet-32, CIFAR-10 JPEG copy",
    "minima_lenet300_mnist_full": "LeNet-300, MNIST, settings as released",
}
_SPARSE = "minima_lenet5_mnist_sparse"
_DRAWN = {  # figure: what it shows
    "error-sparsity": "test error against the share of parameters pruned",
    "loss-surface": "training loss over the plane through G and S as a surface, seed 0",
    "loss-plane": "training loss over the plane through G and S, seed 0",
    "eigenvalue-plane": "top eigenvalue of the Hessian (nats) over the plane, seed 0",
    "line": "training loss on the line from G to S, of a part of the training examples",
    "spectra": "density of the Hessian's spectrum, seed 0",
    "curvature-loss": "top eigenvalue of the survivors against training loss, trained "
    "on under the masks; bands: one standard error over seeds",
    "entropy": "histogram of first-order PSP-entropy over live neurons, seed 0",
}
#: Drawn on grids of 3 by 3 points that held neither solution, so they showed a basin
#: where the line has a barrier.
_WITHDRAWN = (
    "minima_resnet32_cifar10_reduced-loss-plane.png",
    "minima_resnet32_cifar10_reduced-loss-surface.png",
)
_REWOUND = ("minima_lenet300_digits-entropy", "minima_lenet300_digits-error-sparsity")


def pictures() -> tuple[Picture, ...]:
    """Return the recorded figures; G is the gradual solution, S the one-shot one."""
    drawings = [
        Picture(
            f"{_FOLDER}/minima-curvature-against-loss.png",
            "**Minima (2004.14765).** Top Hessian eigenvalue against training loss, "
            "one-shot over gradual solution, one point a seed: the order of the "
            "curvatures is mostly the order of the losses, so at unequal loss they "
            "say little about the minima.",
            "minima",
            headline=True,
        )
    ]
    for experiment, title in EXPERIMENTS.items():
        for name in read_json(RECORDED / f"{experiment}.json")["figures"]:
            if name in _WITHDRAWN:
                continue
            kind = name.removeprefix(f"{experiment}-").removesuffix(".png")
            arms = "G gradual, S one-shot"
            if name.removesuffix(".png") in _REWOUND:
                arms += ", R rewound, T G's mask from the initial weights"
            caption = f"{title}: {_DRAWN[kind]} ({arms})."
            drawings.append(Picture(f"{_FOLDER}/{name}", caption, "minima"))
    return tuple(drawings)


def records() -> dict[str, Mapping[str, Any]]:
    """Return the recorded comparisons by experiment."""
    return {name: read_json(RECORDED / f"{name}.json") for name in EXPERIMENTS}


def pairs(record: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return (gradual, one-shot) measures of each seed at the accepted level."""
    groups: dict[tuple[str, int], Any] = {}
    for one in record["measures"].values():
        if one["level"] is None:
            groups[one["arm"], one["seed"]] = one
    seeds = sorted({seed for arm, seed in groups if arm == "gradual"})
    return [(groups["gradual", seed], groups["one-shot", seed]) for seed in seeds]


def findings() -> tuple[Finding, ...]:
    """Return the rows on arXiv 2004.14765: a claim each, over all comparisons."""
    comparisons = records()
    rows = []
    for index, claim in enumerate(next(iter(comparisons.values()))["claims"]):
        verdicts = Counter(r["claims"][index]["verdict"] for r in comparisons.values())
        text = ", ".join(
            f"{verdicts[verdict]} {verdict}"
            for verdict in ("supported", "undecided", "not supported")
            if verdicts[verdict]
        )
        rows.append(
            Finding(
                f"Minima {claim['number']}: {TEXTS[claim['number']]}",
                "a figure (MEM)" if claim["number"] < 8 else "a conjecture (ABS)",
                f"of {len(comparisons)} comparisons: {text}"
                f"{_beside(claim['number'], comparisons)}",
                _verdict(claim["number"], verdicts),
                "minima",
                tuple(map(float, verdicts.values()))
                + _numbers(claim["number"], comparisons),
                tuple(f"{_FOLDER}/{name}.json" for name in comparisons),
            )
        )
    return tuple(rows)


def _verdict(number: int, verdicts: Counter[str]) -> str:
    if number == 3:
        return "not decided at equal training loss; flatter where the loss is lower"
    if number == 7:
        return "not in the same-state form; mixed in the authors' draft form"
    count = verdicts.total()
    if verdicts["supported"] and verdicts["not supported"]:
        return "mixed: for in some comparisons, against in others"
    for verdict, words in (("supported", "holds"), ("not supported", "fails")):
        if verdicts[verdict] > count / 2:
            return f"mostly {words}"
    return "undecided"


def _draft(record: Mapping[str, Any]) -> Mapping[str, Any]:
    variants = next(c for c in record["claims"] if c["number"] == 7)["variants"]
    return next(v for v in variants if v["name"].startswith("the authors' draft"))


def _meets(record: Mapping[str, Any]) -> bool:
    """Say whether G and S have a common training loss with any seed."""
    equal = record.get("equal", {}).items()
    return any(pair["levels"] for name, pair in equal if name.startswith("one-shot-"))


def _numbers(number: int, comparisons: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the numbers that :func:`_beside` prints."""
    if number == 3:
        both = [pair for record in comparisons.values() for pair in pairs(record)]
        alike = sum(
            (s["top_survivors"] > g["top_survivors"])
            == (s["train_loss"] > g["train_loss"])
            for g, s in both
        )
        equal = Counter(
            record["views"]["one-shot, at equal loss"]["3"]
            for record in comparisons.values()
            if _meets(record)
        )
        counts = (equal[v] for v in ("supported", "undecided", "not supported"))
        return float(alike), float(len(both)), *map(float, counts)
    if number == 7:
        draft = _draft(comparisons[_SPARSE])
        forms = Counter(_draft(record)["verdict"] for record in comparisons.values())
        counts = (forms[v] for v in ("supported", "undecided", "not supported"))
        return draft["mean"], draft["low"], draft["high"], *map(float, counts)
    return ()


def _beside(number: int, comparisons: Mapping[str, Any]) -> str:
    """Return what has to be said beside the count of verdicts."""
    if number == 3:
        alike, count, *equal = _numbers(number, comparisons)
        supported, undecided, refuted = (f"{n:.0f}" for n in equal)
        return (
            f"; in {alike:.0f} of {count:.0f} pairs as they end the larger eigenvalue "
            "goes with the larger training loss; of the comparisons at equal loss "
            f"{supported} supported, {undecided} undecided, {refuted} not supported"
        )
    if number == 7:
        mean, low, high, *counts = _numbers(number, comparisons)
        supported, undecided, refuted = (f"{count:.0f}" for count in counts)
        return (
            f" (same-state form); in the authors' own draft form {supported} supported "
            "(at 313 to 485x, where S hardly learnt: "
            f"G - S = {mean:+.3f}, {low:.3f} to {high:.3f}), "
            f"{undecided} undecided, {refuted} not supported"
        )
    return ""


def ratios() -> tuple[Ratio, ...]:
    """Return the rows of the performance table."""
    record = read_json(RECORDED / "benchmark-curvature.json")
    machine = f"{record['device']['kind']}, {record['device']['cores']} core(s)"
    rows = {(row["task"], row["by"]): row for row in record["rows"]}
    titles = {"hvp": "Hessian-vector product", "lanczos": "20 Lanczos steps"}
    return tuple(
        Ratio(
            f"{title}, LeNet-5, 300 examples",
            f"{rows[task, 'synaptax']['best_s']:.3g} s",
            f"{peer}, {rows[task, peer]['best_s']:.3g} s",
            f"{rows[task, peer]['times_ours']:.1f} times as fast",
            machine,
            f"{_FOLDER}/benchmark-curvature.json",
        )
        for task, title in titles.items()
        for peer in ("curvlinops", "pyhessian")
    )


def misses() -> tuple[Miss, ...]:
    """Return what was aimed at and not reached."""
    comparisons = records()
    alike, count, *_ = _numbers(3, comparisons)
    fair = sum(map(_meets, comparisons.values()))
    return (
        Miss(
            f"Only {fair} of {len(comparisons)} comparisons of minima are a fair test "
            "of 2004.14765's claim on sharpness",
            "the others, LeNet-5's among them, were made at unequal training loss or "
            "reached no common one, and "
            f"in {alike:.0f} of {count:.0f} pairs as they end curvature is ordered as "
            "the loss is",
            True,
        ),
        Miss(
            "LeNet-5 on all of MNIST at 99.0 to 99.6 %, ResNet-32 at full size",
            "they were not run: hours of a core each. LeNet-300 by LOBSTER's settings "
            "as released was, but 60 epochs of pruning take it to 4.4 to 5.2x only",
            True,
        ),
    )


def ratio_points() -> dict[str, list[tuple[float, float]]]:
    """Return (loss of S / G, top eigenvalue of S / G) of each seed by experiment."""
    return {
        EXPERIMENTS[name]: [
            (
                s["train_loss"] / g["train_loss"],
                s["top_survivors"] / g["top_survivors"],
            )
            for g, s in pairs(record)
            if math.isfinite(s["top_survivors"])
        ]
        for name, record in records().items()
    }

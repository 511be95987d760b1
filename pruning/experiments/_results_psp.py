"""The sections of RESULTS.md on post-synaptic-potential regularisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pruning.experiments import _psp_cells, _results_deep, psp_prune
from pruning.experiments._variants import RECORDED, moments, spread
from synaptax import runs
from synaptax.reports.tables import markdown

Cells = Sequence[Mapping[str, Any]]

# The authors' logs (not the printed tables): error in %, test cross-entropy, R.
# MNIST: at epoch 50; PSP of 10 seeds, L2 and none of 3, dropout of 3, L1 of 1.
MNIST_LOGS = {
    "psp": ("0.57 ± 0.04", "0.0174", "4.6"),
    "l2": ("0.74", "0.0259", "39"),
    "none": ("0.75", "0.033", "76"),
    "dropout": ("0.65", "0.029", "63"),
    "l1": ("0.93", "0.0287", "19.5"),
}
# Fashion-MNIST: error, mean over epochs 31 to 150 and 10 seeds; the rest of one seed.
FASHION_LOGS = {
    "psp": ("7.88", "0.336", "5.35"),
    "l2": ("8.28", "0.416", "29.5"),
    "none": ("8.13", "0.727", "117"),
    "dropout": ("8.22", "0.676", "150"),
    "l1": ("9.56", "-", "-"),
}


def groups(cells: Cells, order: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return the cells of each variant, those named in ``order`` first."""
    by_variant: dict[str, list[Any]] = {name: [] for name in order}
    for cell in cells:
        by_variant.setdefault(cell["variant"], []).append(cell)
    return {name: own for name, own in by_variant.items() if own}


def late_error(cell: Mapping[str, Any], first: int) -> float:
    """Return a cell's error in percent, the mean from epoch ``first`` on."""
    errors = cell["curves"]["error"][first - 1 :]
    return 100 * math.fsum(errors) / len(errors)


def errors_by_seed(cells: Cells, since: int | None) -> dict[int, float]:
    """Return each seed's error in percent: at the last epoch, or from ``since`` on."""
    return {
        cell["seed"]: 100 * cell["test_error"]
        if since is None
        else late_error(cell, since)
        for cell in cells
    }


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> str:
    """Return ``one`` less ``other`` over the seeds of both, with its standard error."""
    gaps = [one[seed] - other[seed] for seed in one if seed in other]
    if not gaps:
        return "-"
    over = moments(gaps)
    mean = f"{over['mean']:+.3f}"
    return mean if over["se"] is None else f"{mean} ± {over['se']:.3f}"


def against_logs(
    cells: Cells, logs: Mapping[str, tuple[str, str, str]], since: int | None
) -> list[str]:
    """Return the table of an experiment beside the authors' logs.

    Args:
        cells: the recorded cells.
        logs: the authors' figures.
        since: the error is the mean over the epochs from here on; None: the last.
    """
    rows = []
    by_variant = groups(cells, list(logs))
    reference = errors_by_seed(by_variant.get("psp", []), since)
    for name, own in by_variant.items():
        errors = errors_by_seed(own, since)
        ours = (
            spread(list(errors.values()), ".3f"),
            spread([cell["test_loss"] for cell in own], ".4f"),
            spread([cell["penalty"] for cell in own], ".3g"),
        )
        pairs = zip(ours, logs[name], strict=True)
        less = "-" if name == "psp" else difference(errors, reference)
        rows.append([name, len(own), *(one for pair in pairs for one in pair), less])
    head = ["regulariser", "seeds"]
    for what in ("error (%)", "cross-entropy", "R"):
        head += [what, f"{what}, authors' log"]
    return markdown([*head, "error less PSP's (%)"], rows)


def layer_table(cells: Cells, order: Sequence[str]) -> list[str]:
    """Return mean z^2 of each layer on the test set, in the mean over seeds."""
    paths = list(cells[0]["mean_squares"])
    rows = [
        [
            name,
            *(
                f"{sum(c['mean_squares'][p] for c in own) / len(own):.3g}"
                for p in paths
            ),
        ]
        for name, own in groups(cells, order).items()
    ]
    return markdown(["regulariser", *paths], rows)


def circumstances(cells: Cells) -> list[str]:
    """Return how the cells were run: settings, machine and time."""
    config = cells[0]["config"]
    kinds = sorted({f"{c['device']['platform']}, {c['device']['kind']}" for c in cells})
    times = sorted(cell["wall_s"] / 60 for cell in cells)
    moving = f", momentum {config['momentum']:g}" if config["momentum"] else ""
    return [
        f"SGD {config['lr']:g}{moving}, batch {config['batch']}, {config['epochs']} "
        f"epochs; {len(cells)} cells, {times[0]:.0f} to {times[-1]:.0f} min each "
        f"(median {times[len(times) // 2]:.0f}) on {'; '.join(kinds)}, jax "
        f"{cells[0]['versions']['jax']}; `{cells[0]['command'].split(' --')[0]}`.",
        "",
    ]


def comparison(
    experiment: str,
    title: str,
    logs: Mapping[str, tuple[str, str, str]],
    since: int | None,
) -> list[str]:
    """Return the section of one comparison of regularisers."""
    cells = _psp_cells.read(RECORDED, experiment)
    lines = [f"## {title}", ""]
    if not cells:
        return [*lines, "No cell has been recorded yet.", ""]
    what = "at the last epoch" if since is None else f"mean over epochs from {since} on"
    return [
        *lines,
        *circumstances(cells),
        f"Error on the test set, {what}; cross-entropy and R (mean over layers of the "
        "mean of z², logits included) at the last epoch, in evaluation mode. Mean ± "
        "standard deviation over seeds. The authors' figures come from their logs, "
        "not from the printed tables, which could not be read. Last column: the "
        "difference between runs with the same seed, that is with the same initial "
        "weights and batches, mean ± standard error.",
        "",
        *against_logs(cells, logs, since),
        "",
        "Mean of z² by layer, test set, last epoch:",
        "",
        *layer_table(cells, list(logs)),
        "",
    ]


def sweep() -> list[str]:
    """Return the section of the choice of gamma."""
    cells = _psp_cells.read(RECORDED, "psp_gamma")
    lines = ["## PSP: the weight of the penalty, chosen on validation", ""]
    if not cells:
        return [*lines, "No cell has been recorded yet.", ""]
    rows, best = [], (math.inf, "")
    for name, own in sorted(groups(cells).items(), key=lambda item: float(item[0])):
        errors = [100 * cell["curves"]["error"][-1] for cell in own]
        losses = [cell["curves"]["loss"][-1] for cell in own]
        best = min(best, (sum(losses) / len(losses), name))
        penalties = [cell["penalty"] for cell in own]
        rows.append(
            [
                name,
                len(own),
                spread(errors, ".3f"),
                spread(losses, ".4f"),
                spread([100 * cell["test_error"] for cell in own], ".3f"),
                spread(penalties, ".3g"),
            ]
        )
    head = ("gamma", "seeds", "validation error (%)", "validation loss")
    return [
        *lines,
        *circumstances(cells),
        *markdown((*head, "test error (%)", "R"), rows),
        "",
        f"The lowest mean validation loss is that of gamma = {best[1]}.",
        "",
    ]


def plain_table(experiment: str, title: str) -> list[str]:
    """Return the section of an experiment without the authors' figures beside it."""
    cells = _psp_cells.read(RECORDED, experiment)
    lines = [f"## {title}", ""]
    if not cells:
        return [*lines, "No cell has been recorded yet.", ""]
    rows = [
        [
            name,
            len(own),
            spread([100 * cell["test_error"] for cell in own], ".2f"),
            spread([cell["test_loss"] for cell in own], ".4f"),
            spread([cell["penalty"] for cell in own], ".3g"),
        ]
        for name, own in groups(cells).items()
    ]
    head = ("regulariser", "seeds", "test error (%)", "cross-entropy", "R")
    return [*lines, *circumstances(cells), *markdown(head, rows), ""]


def percents(cell: Mapping[str, Any]) -> dict[int, float]:
    """Return the error of each seed of a pruned chain, in percent."""
    errors = [100 * error for error in cell["test_errors"]]
    return dict(zip(cell["seeds"], errors, strict=True))


def pruned_table() -> list[str]:
    """Return the section on pruning after each regulariser."""
    lines = ["## PSP and pruning in one chain: LeNet-300 on MNIST", ""]
    cells = [runs.read_json(path) for path in sorted(RECORDED.glob("psp_prune-*.json"))]
    if not cells:
        return [*lines, "No run has been recorded yet.", ""]
    errors = {(cell["chain"], cell["density"]): percents(cell) for cell in cells}
    chains = [c for c in psp_prune.CHAINS if any(c == chain for chain, _ in errors)]
    rows = []
    for density in sorted({density for _, density in errors}, reverse=True):
        own = [errors.get((chain, density), {}) for chain in chains]
        psp, l2 = (errors.get((chain, density), {}) for chain in ("psp", "l2"))
        rows.append(
            [
                f"{1 / density:g}x",
                *(spread(list(e.values()), ".2f") if e else "-" for e in own),
                difference(psp, l2),
            ]
        )
    first = cells[0]
    return [
        *lines,
        f"Test error in percent after the last epoch, mean ± standard deviation over "
        f"{len(first['seeds'])} seeds, by compression of the weights (biases are not "
        f"pruned). Every chain has the same budget: {first['epochs']} epochs, the same "
        "gradual magnitude pruning, nothing chosen on the test set. Last column: "
        "between networks with the same initial weights and batches, mean ± standard "
        "error. On "
        f"{first['device']['platform']}, {first['device']['kind']}; "
        f"`{first['command'].split(' --')[0]}`.",
        "",
        *markdown(["compression", *chains, "psp less l2"], rows),
        "",
    ]


def sections() -> list[str]:
    """Return what was measured, as Markdown lines."""
    lines = [
        *comparison(
            "psp_mnist", "PSP: LeNet-5 on MNIST (1907.08544)", MNIST_LOGS, None
        ),
        *comparison(
            "psp_fashion",
            "PSP: LeNet-5 on Fashion-MNIST (1907.08544)",
            FASHION_LOGS,
            31,
        ),
        *plain_table(
            "psp_fashion_short", "PSP: LeNet-5 on Fashion-MNIST, 30 of 150 epochs"
        ),
        *sweep(),
        *pruned_table(),
        *_results_deep.section(),
        *plain_table("psp_cifar", "PSP: ResNet-18 on CIFAR-10, a JPEG copy"),
    ]
    notes = RECORDED / "notes-psp.md"
    return [*lines, notes.read_text().strip(), ""] if notes.exists() else lines

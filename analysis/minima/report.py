"""The report of a comparison: Markdown, figures, and a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import plots
from analysis.minima.claims import MARGIN, TEXTS, Claim, Effect, arms_of
from analysis.minima.compare import Comparison
from analysis.minima.config import Config
from analysis.minima.pictures import LETTERS, NAMES, figures, title
from synaptax.reports.tables import markdown
from synaptax.runs.files import replacing

_ROWS = (
    ("pruned parameters (%)", lambda m: 100 * (1 - m["kept"] / m["total"])),
    ("test error (%)", lambda m: 100 * m["error"]),
    ("training loss (nats)", lambda m: m["train_loss"]),
    ("training error (%)", lambda m: 100 * m["train_error"]),
    ("top eigenvalue, survivors", lambda m: m["top_survivors"]),
    ("top eigenvalue, all weights", lambda m: m["top_all"]),
    ("trace, survivors", lambda m: m["trace_survivors"]),
    ("worst rise in a ball of 0.1 (nats)", lambda m: m["worst_rise"]),
    ("mean rise under 5 % noise (nats)", lambda m: m["mean_rise"]),
    ("mean z², all layers", lambda m: m["z2"]),
    ("PSP-entropy, all neurons (bits per class)", lambda m: m["H1"]),
    ("PSP-entropy, live neurons", lambda m: m["H1_live"]),
    ("second order, XNOR (bits per class)", lambda m: m["H2_xnor"]),
    ("second order, XNOR, live neurons", lambda m: m["H2_xnor_live"]),
    ("live neurons (%)", lambda m: 100 * m["live"] / m["neurons"]),
    ("class selectivity, live units", lambda m: m["selectivity"]),
    ("variance between classes, live units", lambda m: m["variance"]),
    ("information on the class, live units (bits)", lambda m: m["information"]),
    ("linear probe on the other set, error (%)", lambda m: 100 * m["probe_error"]),
    ("neighbours on the other set, error (%)", lambda m: 100 * m["neighbour_error"]),
)


def write(comparison: Comparison) -> list[Path]:
    """Write ``report.md`` and ``figures/`` into the comparison's folder.

    Returns:
        The paths written, the report first.
    """
    paths = [
        path
        for name, figure in figures(comparison).items()
        for path in plots.save(figure, comparison.folder / "figures" / name)
    ]
    report = comparison.folder / "report.md"
    images = [path for path in paths if path.suffix == ".png"]
    with replacing(report) as file:
        file.write("\n".join(document(comparison, images)).encode() + b"\n")
    return [report, *paths]


def document(comparison: Comparison, images: Sequence[Path]) -> list[str]:
    """Return the report as lines of Markdown."""
    config = comparison.config
    lines = [f"# Two minima: {title(config)}", "", *_setting(comparison), ""]
    lines += ["## Verdicts", "", *verdict_lines(comparison.claims, config.level), ""]
    lines += ["## Verdicts side by side", "", *view_lines(comparison.views), ""]
    lines += ["## At equal training loss", "", *equal_lines(comparison.equal), ""]
    lines += ["## Measures", "", *measure_lines(comparison.measures, None), ""]
    for level in config.levels:
        lines += [
            *level_heading(comparison.measures, config, level),
            "",
            *measure_lines(comparison.measures, level),
            "",
        ]
    lines += ["## Layers", "", *layer_lines(comparison.measures), ""]
    lines += ["## Figures", ""]
    for path in images:
        lines += [f"![{path.stem}](figures/{path.name})", ""]
    return lines


def level_heading(
    measures: Mapping[str, Any], config: Config, level: float
) -> list[str]:
    """Return the heading of a level, and which seeds' G did not get as far."""
    absent = sorted(set(config.seeds) - set(arms_of(measures, level)))
    missing = (
        f"Not reached by G of seeds {absent}, which are left out." if absent else ""
    )
    return [f"### At exactly {level:g}x", *(["", missing] if missing else [])]


def _setting(comparison: Comparison) -> list[str]:
    c = comparison.config
    data = "" if c.limit is None else f" on the first {c.limit:,} training examples"
    return [
        f"G is pruned gradually (LOBSTER: rate {c.rate:g}, patience {c.patience}, "
        f"tolerance {c.tolerance:g}): {c.dense_epochs} dense epochs, "
        f"{c.prune_epochs} of pruning, {c.tune_epochs} at a lower rate{data}. S is the "
        "same dense network cut once by magnitude to exactly G's number of parameters "
        f"and trained for {c.prune_epochs} + {c.tune_epochs} epochs"
        + ("; R the same from its initial weights" if c.rewind else "")
        + ("; by layer: each layer cut to the same share" if c.layerwise else "")
        + (
            "; T has G's mask on the initial weights, trained as S. "
            if c.ticket
            else ". "
        )
        + "At a level G's cuts stop there and the mask is trained for the rest of the "
        "epochs. The dense network that errors are set beside is trained as long. "
        + f"Wall time {comparison.wall_s / 60:.1f} min. Curvature is measured on "
        f"{c.curvature_examples:,} training examples, entropies on test examples."
    ]


def verdict_lines(claims: Sequence[Claim], level: float) -> list[str]:
    """Return the claims with effects, intervals and verdicts, as Markdown."""
    lines = [
        f"Effects are signed so that the claim expects them above 0; {100 * level:g} % "
        "Student t intervals over the seeds' own differences. Supported: the interval "
        "lies above 0; not supported: below; undecided: it holds 0, or the seeds do "
        f"not differ. Likeness (claim 6): within ±{MARGIN:g}. Rows in brackets are "
        "variants, which do not decide.",
        "",
    ]
    rows = []
    for claim in claims:
        rows.append(
            [f"**{claim.number}**", f"**{claim.text}**", "", "", f"**{claim.verdict}**"]
        )
        rows += [_effect_row(effect, "{}") for effect in claim.parts]
        rows += [_effect_row(effect, "({})") for effect in claim.variants]
    return lines + markdown(
        ("", "claim or effect", "effect", "interval", "verdict"), rows
    )


def view_lines(views: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the verdict on each claim against each twin of G, in both views."""
    rows = [
        [f"{n}", TEXTS[n], *(view.get(f"{n}", "-") for view in views.values())]
        for n in TEXTS
    ]
    heads = []
    for view in views:
        arm, when = view.split(", ")
        heads.append(f"against {LETTERS[arm]}, {when}")
    return [
        "G is compared with each twin at exactly equal sparsity, as both end and at "
        "equal training loss. As they end, claim 3 is judged by the curvature as it is "
        "then; at equal loss claim 2 is void, and claim 4 belongs to the other view.",
        "",
        *markdown(("", "claim", *heads), rows),
    ]


def equal_lines(equal: Mapping[str, Any]) -> list[str]:
    """Return the curvature of each pair at the first and last loss that both reach."""
    rows = []
    for name, pair in equal.items():
        for one in pair["levels"][:: max(len(pair["levels"]) - 1, 1)]:
            g, s = one["first"], one["second"]
            row = [name, number(one["loss"])]
            for key in ("top_survivors", "trace_survivors"):
                row += [number(float(m[key])) for m in (g, s)]
            rows.append([*row, *(number(100 * m["error"]) for m in (g, s))])
        if not pair["levels"]:
            ends = []
            for side in ("first", "second"):
                losses = [float(loss) for loss in pair["losses"][side]]
                ends.append(f"{number(losses[0])} down to {number(min(losses))} nats")
            rows.append([name, "none in common", *ends, *(4 * ["-"])])
    if not rows:
        return ["Not compared: `equal_epochs` is 0."]
    return markdown(
        (
            *("twin of G", "training loss", "top eigenvalue, G", "twin"),
            *("trace, G", "twin", "test error (%), G", "twin"),
        ),
        rows,
    )


def _effect_row(effect: Effect, form: str) -> list[str]:
    unit = f" {effect.unit}" if effect.unit else ""
    return [
        "",
        form.format(effect.name),
        f"{number(effect.mean)}{unit}",
        f"{number(effect.low)} to {number(effect.high)}{_counted(effect)}",
        effect.verdict,
    ]


def _counted(effect: Effect) -> str:
    """Return how many seeds an effect is of, if some were left out."""
    count, every = sum(map(math.isfinite, effect.values)), len(effect.values)
    return f" ({count} of {every} seeds)" if 0 < count < every else ""


def number(value: float) -> str:
    """Return a number in three digits, a dash where there is none."""
    return "-" if not math.isfinite(value) else f"{value:.3g}"


def measure_lines(measures: Mapping[str, Any], level: float | None) -> list[str]:
    """Return a table of what was measured at one level, mean and standard error."""
    seeds = arms_of(measures, level)
    arms = [a for a in NAMES if any(a in own for own in seeds.values())]
    rows = []
    for name, of in _ROWS:
        cells = [_spread(_numbers(seeds, arm, of)) for arm in arms]
        if any(cell != "-" for cell in cells):
            rows.append([name, *cells])
    head = ("mean ± standard error over seeds", *(NAMES[arm] for arm in arms))
    return markdown(head, rows)


def _numbers(seeds: Mapping[int, Any], arm: str, of: Any) -> list[float]:
    numbers = []
    for own in seeds.values():
        try:
            value = float(of({k: _float(v) for k, v in own[arm].items()}))
        except KeyError:
            # Dense networks, and comparisons without a second set, lack some measures.
            continue
        if math.isfinite(value):
            numbers.append(value)
    return numbers


def _float(value: Any) -> Any:
    """Return "nan" and the like, as JSON holds them, as numbers."""
    return float(value) if value in ("nan", "inf", "-inf") else value


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0])
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{number(float(np.mean(values)))} ± {number(error)}"


def layer_lines(measures: Mapping[str, Any]) -> list[str]:
    """Return a table of each hidden layer of G and S, means over the seeds."""
    seeds = arms_of(measures, None)
    rows = []
    for arm in ("gradual", "one-shot"):
        own = [arms[arm]["layers"] for arms in seeds.values()]
        for layer in own[0]:
            mean = lambda key, own=own, layer=layer: number(
                float(np.mean([float(one[layer][key]) for one in own]))
            )
            keys = ("live", "neurons", "z2", "H1", "H1_live", "H2_xnor", "selectivity")
            rows.append([LETTERS[arm], layer, *map(mean, keys)])
    head = ("", "layer", "live", "neurons", "mean z²", "H1", "H1 live", "H2 XNOR")
    return markdown((*head, "selectivity"), rows)


def show(comparison: Comparison) -> None:
    """Print the verdicts as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Two minima: {title(comparison.config)}",
        caption="effects signed as the paper expects; "
        f"{100 * comparison.config.level:g} % t intervals over seeds",
    )
    table.add_column("claim")
    for head in ("effect", "interval"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for claim in comparison.claims:
        table.add_row(
            f"[bold]{claim.number}. {claim.text}", "", "", f"[bold]{claim.verdict}"
        )
        for part in claim.parts:
            table.add_row(
                f"   {part.name}",
                f"{number(part.mean)} {part.unit}".strip(),
                f"{number(part.low)} to {number(part.high)}",
                part.verdict,
            )
        table.add_section()
    console = Console(highlight=False)
    console.print()
    console.print(table)

"""Three figures of a run: error against compression, weights, the first mask.

Each function returns a :class:`matplotlib.figure.Figure` that belongs to no backend
and no window; :func:`write` draws those of a run folder into PNG files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pruning._roles import weights_only
from pruning.gradual import snapshots
from pruning.gradual.snapshots import Snapshot
from synaptax import runs
from synaptax.reports.drawing import COLOURS, GREY, blank
from synaptax.runs.files import replacing
from synaptax.trees import named_leaves

_TILES = 64  # filters shown at most


def frontier(
    records: Sequence[Mapping[str, Any]],
    kept: Sequence[Snapshot],
    *,
    seeds: Sequence[int],
    chosen: Sequence[tuple[int, float, float]] = (),
    title: str = "",
) -> Any:
    """Draw validation error against compression, and compression against time.

    By the plateau rule the masks stand still between two cuts, so all epochs of that
    stretch share the compression of the snapshot that the stretch left. By a schedule
    each epoch's record has its own.

    Args:
        records: the lines of ``metrics.jsonl``.
        kept: the snapshots of all seeds (:func:`pruning.gradual.snapshots.listing`).
        seeds: the seeds, in the order of the replicas.
        chosen: fine-tuned operating points, (replica, compression, validation error
            as a fraction).
        title: the first line.

    Returns:
        A figure of two panels with a line for each seed.
    """
    figure = blank(9.0, 4.2)
    error, time = figure.subplots(1, 2, width_ratios=(3, 2))
    # A one-shot cut is recorded with the error before it: only what was tuned counts.
    kept = [s for s in kept if s.name == "dense" or s.name.startswith("cut-")]
    for replica, seed in enumerate(seeds):
        colour = COLOURS[replica % len(COLOURS)]
        own = [s for s in kept if s.replica == replica]
        dense = [s for s in own if s.name == "dense"]
        cuts = [s for s in own if s.name != "dense"]
        path = dense + cuts
        epochs, sizes, errors = _epochs(records, cuts, replica)
        error.plot(sizes, errors, ".", color=colour, alpha=0.35, ms=5, mew=0)
        error.plot(
            [s.compression for s in path],
            [100 * s.error for s in path],
            "o-",
            color=colour,
            ms=4,
            lw=1.2,
            label=f"seed {seed}",
        )
        for s in dense:
            error.axhline(100 * s.error, color=colour, ls=(0, (4, 3)), lw=0.9)
        time.plot(epochs, sizes, color=colour, lw=1.4)
    for replica, compression, fraction in chosen:
        colour = COLOURS[replica % len(COLOURS)]
        error.plot(
            compression, 100 * fraction, "*", color=colour, mec="black", ms=13, zorder=5
        )
    error.plot([], [], color=GREY, ls=(0, (4, 3)), lw=0.9, label="dense")
    error.plot([], [], ".", color=GREY, ms=4, label="one epoch")
    if chosen:
        error.plot([], [], "*", color="white", mec="black", ms=11, label="fine-tuned")
    _error_axis(error, kept)
    error.set_xlabel("compression: total / kept, all parameters")
    error.set_ylabel("validation error (%)")
    error.legend(fontsize=8, framealpha=0.9)
    time.set_yscale("log")
    _plain(time.yaxis)
    time.set_xlabel("epoch of the pruning stage")
    time.set_ylabel("compression, all parameters")
    time.grid(alpha=0.3, lw=0.5)
    figure.suptitle(title, fontsize=11)
    return figure


def histograms(before: Any, after: Any, *, title: str = "") -> Any:
    """Draw each layer's weights before and after, with the zeros counted apart.

    Args:
        before: tree of dense weights.
        after: tree of pruned weights, of the same structure; exact zeros are pruned.
        title: the first line.

    Returns:
        A figure with a panel for each leaf of two axes or more; counts are
        logarithmic, and the zeros after pruning are named in the panel, not drawn.
    """
    pairs = [
        (name, np.asarray(old, np.float32).ravel(), np.asarray(new, np.float32).ravel())
        for (name, old), (_, new) in zip(
            named_leaves(before), named_leaves(after), strict=True
        )
        if weights_only(name, old)
    ]
    columns = 2 if len(pairs) == 4 else min(len(pairs), 3)
    rows = -(-len(pairs) // columns)
    figure = blank(3.3 * columns, 2.9 * rows + 0.5)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis, (name, old, new) in zip(axes, pairs, strict=False):
        alive = new[new != 0]
        reach = max(np.abs(old).max(), np.abs(alive).max(initial=0.0), 1e-12)
        bins = np.linspace(-reach, reach, 61).tolist()
        axis.hist(old, bins, color="#B9B9B9", label="dense")
        axis.hist(
            alive, bins, histtype="step", color=COLOURS[1], lw=1.6, label="pruned"
        )
        zeros = new.size - alive.size
        axis.set_title(
            f"{name}: {100 * zeros / new.size:.1f} % exact zeros\n"
            f"{alive.size:,} of {new.size:,} weights kept",
            fontsize=9,
        )
        axis.set_yscale("log")
        axis.set_ylim(bottom=0.7)
        axis.set_xlabel("weight")
        axis.grid(alpha=0.3, lw=0.5)
    for axis in axes[len(pairs) :]:
        axis.set_axis_off()
    for axis in axes[: len(pairs) : columns]:
        axis.set_ylabel("weights in the bin (log)")
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure


def first_layer(
    weights: Any, image_shape: Sequence[int], *, name: str = "", title: str = ""
) -> Any:
    """Draw what the first layer still looks at.

    Args:
        weights: a pruned first kernel: (inputs, units), or a convolution's
            (height, width, channels, filters). Exact zeros are pruned.
        image_shape: (height, width, channels) of the input, height x width x
            channels = inputs for a dense kernel.
        name: the kernel's name.
        title: the first line.

    Returns:
        For a dense kernel, an image of how many connections each pixel keeps; for a
        convolution, its filters, the first 64, with pruned entries left blank.

    Raises:
        ValueError: if the kernel does not fit the image.
    """
    weights = np.asarray(weights, np.float32)
    if weights.ndim == 4:
        return _filters(weights, name, title)
    size = math.prod(image_shape)
    if weights.ndim != 2 or len(image_shape) != 3 or weights.shape[0] != size:
        raise ValueError(
            f"weights: expected ({size}, units) for images of {tuple(image_shape)}, "
            f"got {weights.shape}"
        )
    height, width, _ = image_shape
    count = np.count_nonzero(weights, axis=1).reshape(image_shape).sum(-1)
    figure = blank(4.8, 4.4)
    axis = figure.subplots()
    image = axis.imshow(count, cmap="viridis", vmin=0)
    bar = figure.colorbar(image, ax=axis, shrink=0.85)
    bar.set_label(f"connections kept, of {weights.shape[1] * image_shape[2]}")
    if height * width <= 100:  # few enough pixels to write the numbers in
        middle = count.max() / 2
        for (row, column), number in np.ndenumerate(count):
            colour = "black" if number > middle else "white"
            axis.text(
                column, row, int(number), ha="center", va="center", color=colour, size=8
            )
    blind = int((count == 0).sum())
    axis.set_title(
        f"{name}: {np.count_nonzero(weights):,} of {weights.size:,} kept\n"
        f"{blind} of {count.size} pixels are not looked at",
        fontsize=9,
    )
    axis.set_xlabel("pixel column")
    axis.set_ylabel("pixel row")
    figure.suptitle(title, fontsize=11)
    return figure


def save(figure: Any, path: str | Path) -> Path:
    """Write a figure as a PNG file, whole or not at all, and return its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=110)
    return path


def write(run_dir: str | Path, *, point: int = 0) -> list[Path]:
    """Draw the figures of a finished run into ``figures/`` of its folder.

    Args:
        run_dir: the run folder.
        point: which of the fine-tuned operating points the weights are shown of.

    Returns:
        The paths of the PNG files.

    Raises:
        ValueError: naming a file that is missing or damaged.
    """
    folder = runs.RunFolder(Path(run_dir))
    summary = runs.read_summary(folder.summary)
    config, results = summary["config"], summary["results"]
    seeds = [int(seed) for seed in summary["seeds"]]
    tuned = results["points"][len(seeds) :]  # the dense ones come first
    title = f"{config['model']} on {config['dataset']}, {config['method']}"
    like = dict.fromkeys(results["shapes"], 0)
    listing = snapshots.listing(folder.path / "snapshots")
    replica = seeds.index(tuned[point]["seed"])
    (dense,) = (s for s in listing if (s.replica, s.name) == (replica, "dense"))
    before, _ = snapshots.read(folder.path / "snapshots", dense, like)
    last = dense._replace(replica=point, name="tuned")
    after, _ = snapshots.read(folder.path / "tuned", last, like)
    name = next(n for n, shape in results["shapes"].items() if len(shape) > 1)
    points = [
        (seeds.index(p["seed"]), p["compression"], float(p["validation_error"]))
        for p in tuned
    ]
    records = runs.read_metrics(folder)
    one = f"{title}, seed {seeds[replica]}, {tuned[point]['compression']:.1f}x"
    drawings = {
        "frontier": frontier(records, listing, seeds=seeds, chosen=points, title=title),
        "weights": histograms(before, after, title=one),
        "first-layer": first_layer(
            after[name], _image_shape(len(after[name])), name=name, title=one
        ),
    }
    return [
        save(figure, folder.path / "figures" / f"{key}.png")
        for key, figure in drawings.items()
    ]


def _image_shape(inputs: int) -> tuple[int, int, int]:
    """Guess (height, width, channels): square, grey or coloured, else one row."""
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if side * side * channels == inputs:
            return side, side, channels
    return 1, inputs, 1


def _epochs(
    records: Sequence[Mapping[str, Any]], cuts: Sequence[Snapshot], replica: int
) -> tuple[list[int], list[float], list[float]]:
    """Return epoch, compression and error (%) of one replica's pruning epochs."""
    epochs, sizes, errors = [], [], []
    stage = [r for r in records if r["stage"] == "prune"]
    for number, record in enumerate(stage, start=1):
        following = next((s for s in cuts if s.epoch >= record["epoch"]), None)
        if following is not None:
            epochs.append(number)
            compressions = record.get("compression")  # by a schedule: of each epoch
            sizes.append(
                compressions[replica] if compressions else following.compression
            )
            errors.append(100 * record["validation_error"][replica])
    return epochs, sizes, errors


def _error_axis(axis: Any, kept: Sequence[Snapshot]) -> None:
    """Set the scales of the error panel; chance level stays outside."""
    axis.set_xscale("log")
    _plain(axis.xaxis)
    axis.grid(alpha=0.3, lw=0.5)
    errors = sorted(100 * s.error for s in kept)
    dense = [100 * s.error for s in kept if s.name == "dense"]
    if errors and dense:
        # Single epochs after a deep cut may be at chance: they would flatten it all.
        axis.set_ylim(0, max(2.5 * max(dense), 1.1 * errors[-1], 1.0))


def _plain(axis: Any) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, 20 ... rather than with powers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _filters(kernel: np.ndarray, name: str, title: str) -> Any:
    height, width, channels, filters = kernel.shape
    count = min(filters * channels, _TILES)
    columns = min(count, 10)
    rows = -(-count // columns)
    figure = blank(0.75 * columns + 1.2, 0.85 * rows + 1.1)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    tiles = np.moveaxis(kernel, (2, 3), (1, 0)).reshape(-1, height, width)
    reach = float(np.abs(kernel).max()) or 1.0
    image = None
    for index, axis in enumerate(axes):
        axis.set_xticks([])
        axis.set_yticks([])
        if index >= count:
            axis.set_axis_off()
            continue
        tile = np.ma.masked_equal(tiles[index], 0)
        axis.set_facecolor("#D9D9D9")
        image = axis.imshow(tile, cmap="PuOr", vmin=-reach, vmax=reach)
        axis.set_title(f"{np.count_nonzero(tiles[index])}", fontsize=7, pad=2)
    bar = figure.colorbar(image, ax=list(axes), shrink=0.8)
    bar.set_label("weight; grey: pruned")
    figure.suptitle(
        f"{title}\n{name}: {np.count_nonzero(kernel):,} of {kernel.size:,} kept; above "
        "each filter: entries kept",
        fontsize=10,
    )
    return figure

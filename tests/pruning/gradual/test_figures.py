"""The figures say what was put in, and leave a notebook's backend alone."""

import struct

import numpy as np
import pytest
from matplotlib.backend_bases import FigureCanvasBase

from pruning.gradual import figures
from pruning.gradual.snapshots import Snapshot


def texts(figure):
    axes = figure.axes
    labels = [t for a in axes for t in (a.get_xlabel(), a.get_ylabel(), a.get_title())]
    numbers = [t.get_text() for a in axes for t in a.texts]
    return "\n".join([*labels, *numbers, figure.get_suptitle()])


def saved(figure, tmp_path):
    """Save a figure; return (width, height) in pixels. The file must be small."""
    path = figures.save(figure, tmp_path / "new" / "figure.png")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) < 300_000
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]
    return struct.unpack(">II", data[16:24])


def record(epoch, stage, errors):
    return {"epoch": epoch, "stage": stage, "validation_error": errors}


def shot(replica, name, epoch, error, kept):
    return Snapshot(replica, name, epoch, 0.1, error, kept, 100)


RECORDS = [
    record(1, "dense", [0.10, 0.20]),
    record(2, "prune", [0.09, 0.21]),
    record(3, "prune", [0.30, 0.22]),
    record(4, "prune", [0.12, 0.23]),
    record(5, "tune", [0.11, 0.24]),
]
KEPT = [
    shot(0, "dense", 1, 0.10, 100),
    shot(0, "cut-00002", 2, 0.09, 100),
    shot(0, "cut-00004-end", 4, 0.12, 10),
    shot(1, "dense", 1, 0.20, 100),
    shot(1, "rewind", 1, 0.99, 100),
    shot(1, "one-shot-50", 1, 0.20, 2),
    shot(1, "cut-00004", 4, 0.21, 100),
]


def test_frontier_draws_a_line_for_each_seed(tmp_path):
    figure = figures.frontier(
        RECORDS, KEPT, seeds=(4, 7), chosen=[(0, 10.0, 0.11)], title="a title"
    )
    error, time = figure.axes
    lines = {line.get_label(): line for line in error.lines}
    np.testing.assert_allclose(
        lines["seed 4"].get_xydata(), [(1, 10), (1, 9), (10, 12)]
    )
    np.testing.assert_allclose(lines["seed 7"].get_xydata(), [(1, 20), (1, 21)])
    assert lines["seed 4"].get_color() != lines["seed 7"].get_color()
    assert {"dense", "one epoch", "fine-tuned"} <= set(lines)
    level = [y[0] for y in (li.get_ydata() for li in error.lines) if len(set(y)) == 1]
    assert {10.0, 20.0} <= {round(float(y), 4) for y in level}  # the dense errors
    stars = [line for line in error.lines if line.get_marker() == "*"]
    np.testing.assert_allclose(stars[0].get_xydata(), [(10, 11)])
    # Epoch 2 was trained before the cut, epochs 3 and 4 after it.
    np.testing.assert_allclose(time.lines[0].get_xydata(), [(1, 1), (2, 10), (3, 10)])
    assert error.get_xscale() == time.get_yscale() == "log"
    for words in ("all parameters", "validation error (%)", "epoch", "a title"):
        assert words in texts(figure)
    width, height = saved(figure, tmp_path)
    assert 700 < width < 1400 and 300 < height < 800
    assert type(figure.canvas) is FigureCanvasBase  # of no backend


def test_frontier_without_a_cut(tmp_path):
    dense = [s for s in KEPT if s.name == "dense"]
    figure = figures.frontier(RECORDS[:1], dense, seeds=(0, 1), title="one-shot")
    saved(figure, tmp_path)


def test_histograms_name_the_zeros(tmp_path):
    rng = np.random.default_rng(0)
    before = {
        "a": {"bias": np.ones(30, np.float32), "kernel": rng.normal(size=(20, 30))},
        "b": rng.normal(size=(5, 5, 1, 4)),
    }
    after = {
        "a": {"bias": np.zeros(30), "kernel": np.zeros((20, 30))},
        "b": before["b"] * (np.abs(before["b"]) > 1),
    }
    after["a"]["kernel"][0, :15] = 2.0
    figure = figures.histograms(before, after, title="a title")
    assert len(figure.axes) == 2  # the bias has no panel
    assert "a/kernel: 97.5 % exact zeros\n15 of 600 weights kept" in texts(figure)
    alive = np.count_nonzero(after["b"])
    assert f"{alive} of 100 weights kept" in texts(figure)
    bars = figure.axes[0].patches
    assert sum(p.get_height() for p in bars if hasattr(p, "get_height")) == 600
    assert all(axis.get_yscale() == "log" for axis in figure.axes)
    saved(figure, tmp_path)
    saved(figures.histograms(before, {**after, "b": 0 * after["b"]}), tmp_path / "b")


def test_first_dense_layer_counts_connections_by_pixel(tmp_path):
    weights = np.zeros((2 * 3 * 2, 7), np.float32)
    weights[0, :3] = 1  # pixel (0, 0), channel 0
    weights[1, :2] = -1  # pixel (0, 0), channel 1
    weights[11, 6] = 5  # pixel (1, 2), channel 1
    figure = figures.first_layer(weights, (2, 3, 2), name="Dense_0/kernel")
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), [[5, 0, 0], [0, 0, 1]])
    said = texts(figure)
    assert "Dense_0/kernel: 6 of 84 kept" in said
    assert "4 of 6 pixels" in said and "of 14" in said
    assert [t.get_text() for t in figure.axes[0].texts] == list("500001")
    saved(figure, tmp_path)


@pytest.mark.parametrize(
    "filters, channels, shown", [(4, 1, 4), (20, 1, 20), (50, 3, 64)]
)
def test_first_convolution_shows_its_filters(tmp_path, filters, channels, shown):
    weights = np.zeros((5, 5, channels, filters), np.float32)
    weights[1, 2, 0, 3] = -2.0
    figure = figures.first_layer(weights, (28, 28, channels), name="Conv_0/kernel")
    tiles = [axis for axis in figure.axes if axis.images]
    assert len(tiles) == shown
    tile = tiles[3 * channels].images[0].get_array()
    assert tile[1, 2] == -2.0 and np.ma.count(tile) == 1
    assert tiles[3 * channels].get_title() == "1" and tiles[0].get_title() == "0"
    assert f"1 of {weights.size:,} kept" in texts(figure)
    saved(figure, tmp_path)


@pytest.mark.parametrize("shape", [(12, 7), (13,), (2, 2, 2)])
def test_a_kernel_that_does_not_fit_the_image(shape):
    with pytest.raises(ValueError, match=r"weights: expected \(16, units\) for images"):
        figures.first_layer(np.ones(shape), (4, 4, 1))

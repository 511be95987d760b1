import numpy as np
import pytest

from pruning.gradual.figures import save
from pruning.regularisers import figures


def cell(method, seed, shift):
    epochs = [1, 2, 3]
    return {
        "method": method,
        "seed": seed,
        "curves": {
            "watched": "test",
            "error": [0.3, 0.2, 0.1 + shift],
            "epochs": epochs,
            "loss": [3.0, 2.0, 1.0 + shift],
            "mean_squares": {f"relu_{n}": [1.0, 2.0, 3.0] for n in range(6)},
        },
        "weights": {
            "name": "Conv_1/kernel",
            "first": -13,
            "width": 0.0025,
            "counts": [1] * 20 + [5],
        },
    }


CELLS = [cell("none", 0, 0.0), cell("none", 1, 0.02), cell("psp", 0, 0.01)]


@pytest.mark.parametrize("draw", ["curves", "layers", "weights"])
def test_each_figure_is_drawn_with_a_line_for_each_method(draw, tmp_path):
    figure = getattr(figures, draw)(CELLS, title="a title")
    (legend,) = figure.legends or [figure.axes[0].get_legend()]
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["none", "psp"]
    assert all(axes.get_xlabel() for axes in figure.axes if axes.get_visible())
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_curves_show_the_mean_in_percent():
    error = figures.curves(CELLS).axes[0]
    np.testing.assert_allclose(error.get_lines()[0].get_ydata(), [30, 20, 11])
    assert len(error.collections) == 1  # a range needs two seeds


def test_layers_use_as_many_panels_as_there_are_layers():
    shown = [a for a in figures.layers(CELLS).axes if a.get_visible()]
    assert [a.get_title() for a in shown] == [f"relu_{n}" for n in range(6)]


def test_joined_bins_keep_every_count_and_an_edge_at_zero():
    held = CELLS[0]["weights"]
    counts, edges = figures._coarser(held)
    assert counts.sum() == 25
    assert 0.0 in np.round(edges, 12)
    assert counts[np.round(edges[:-1], 12) >= 0].sum() == 12  # bins 0 to 7

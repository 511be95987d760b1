"""Figures show what they were given, and refuse what they cannot show."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis import plane_plots, plots

A, B = np.linspace(-1, 2, 4), np.linspace(-1, 1, 3)
VALUES = 0.1 + A[None, :] ** 2 + B[:, None] ** 2
POINTS = {"G": (0.0, 0.0), "S": (1.0, 0.0)}


def texts(figure):
    found = [text.get_text() for axis in figure.axes for text in axis.texts]
    for axis in figure.axes:
        found += [axis.get_xlabel(), axis.get_ylabel(), axis.get_title()]
        if axis.get_legend():
            found += [text.get_text() for text in axis.get_legend().get_texts()]
    found += [figure.get_supxlabel(), figure.get_supylabel()]
    return " | ".join(found)


def test_histograms_are_shares_of_the_neurons():
    layers = {"first": {"G": [1, 3, 0, 0], "S": [0, 0, 5, 5]}, "last": {"G": [2, 2]}}
    figure = plots.entropy_histograms(layers, title="what")
    assert isinstance(figure, Figure)
    said = texts(figure)
    assert "G (4)" in said and "S (10)" in said and "bits per class" in said
    heights = figure.axes[0].patches[0].get_data().values
    np.testing.assert_allclose(heights, [25, 75, 0, 0])


def test_many_layers_are_drawn_in_rows():
    layers = {f"layer {i}": {"G": [1, 3]} for i in range(plots.COLUMNS + 1)}
    figure = plots.entropy_histograms(layers)
    width, height = figure.get_size_inches()
    assert width < 20 and height >= 4
    shown = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_title() for axis in shown] == list(layers)


def test_spectra_name_the_spike_at_zero():
    curve = {
        "grid": np.linspace(-1, 3, 9),
        "density": np.ones(9),
        "se": np.full(9, 0.1),
        "bandwidth": 0.05,
    }
    figure = plots.spectra({"G": {**curve, "pruned": 0.99}, "S": curve})
    said = texts(figure)
    assert "a spike of mass 0.9900 at 0" in said and "bandwidth 0.05" in said
    assert said.count("spike") == 1
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("draw", [plane_plots.contour, plane_plots.surface])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_planes_mark_the_solutions(draw, logarithmic):
    figure = draw(A, B, VALUES, points=POINTS, label="loss", logarithmic=logarithmic)
    assert {"G", "S"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "along the line" in figure.axes[0].get_xlabel()


def test_errors_are_drawn_against_what_is_pruned():
    figure = plots.error_sparsity(
        {"G": {"sparsity": [0, 0.75], "error": [0.01, 0.02], "se": [0.001, 0.002]}}
    )
    axis = figure.axes[0]
    np.testing.assert_allclose(axis.lines[0].get_xdata(), [1, 4])
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [1, 2])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "50", "75"]


def test_paths_say_where_they_begin_and_end():
    figure = plots.along_paths({"line": {"t": [0, 1], "loss": [1, 2]}}, ends=("A", "B"))
    assert "between A (t = 0) and B (t = 1)" in figure.axes[0].get_xlabel()


def test_saving_writes_png_and_pdf(tmp_path):
    figure = plane_plots.contour(A, B, VALUES)
    first = plots.save(figure, tmp_path / "new" / "plane.png")
    assert [path.name for path in first] == ["plane.png", "plane.pdf"]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    before = first[1].read_bytes()
    assert before.startswith(b"%PDF")
    plots.save(figure, tmp_path / "new" / "plane")
    assert first[1].read_bytes() == before  # no date in it


def test_bad_figures():
    with pytest.raises(ValueError, match=r"values: expected shape \(3, 4\)"):
        plane_plots.contour(A, B, VALUES.T)
    with pytest.raises(ValueError, match="values: expected positive ones for a log"):
        plane_plots.surface(A, B, VALUES - 1)
    bad = VALUES.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="values: some are not finite"):
        plane_plots.contour(A, B, bad, logarithmic=False)
    with pytest.raises(ValueError, match="sparsity: expected fractions in"):
        plots.error_sparsity({"G": {"sparsity": [1.0], "error": [0.1]}})
    for draw, argument in (
        (plots.entropy_histograms, "layers"),
        (plots.spectra, "curves"),
        (plots.error_sparsity, "curves"),
        (plots.along_paths, "curves"),
    ):
        with pytest.raises(ValueError, match=f"{argument}: expected at least one"):
            draw({})

"""Features in the plane: what is apart stays so, and what makes no sense is named."""

import numpy as np
import pytest

from covid_cxr.embedding import embed, figure


def two_groups(count=40):
    rng, group = np.random.default_rng(0), np.arange(count) % 2
    return rng.normal(size=(count, 6)) + 8 * group[:, None], group


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_groups_that_are_apart_stay_apart(method):
    features, group = two_groups()
    points = embed(features, method, perplexity=10.0)
    assert points.shape == (40, 2)
    middle = [points[group == k].mean(axis=0) for k in (0, 1)]
    nearer = [np.linalg.norm(points - one, axis=1) for one in middle]
    assert ((nearer[1] < nearer[0]) == group).all()
    np.testing.assert_array_equal(points, embed(features, method, perplexity=10.0))


def test_pca_is_that_of_a_singular_value_decomposition():
    features, _ = two_groups()
    centred = features - features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(
        np.abs(embed(features, "pca")), np.abs(left[:, :2] * values[:2]), atol=1e-9
    )


def test_the_figure_tells_groups_by_colour_and_shape():
    features, group = two_groups()
    drawn = figure(embed(features, "pca"), group, ["a", "b", "c", "d"] * 10, note="PCA")
    labels = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert labels == ["0, a (10)", "0, c (10)", "1, b (10)", "1, d (10)"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: embed(x, "umap"), "method: expected one of"),
        (lambda x: embed(x[0]), "features: expected"),
        (lambda x: embed(x * np.nan), "features: expected finite"),
        (lambda x: embed(x, perplexity=40.0), "perplexity: expected in"),
        (lambda x: figure(x, np.zeros(40)), "points: expected finite"),
        (lambda x: figure(x[:, :2], np.zeros(3)), "colours: expected"),
        (lambda x: figure(x[:, :2], np.arange(40)), "colours: 40 groups, at most 7"),
    ],
)
def test_what_makes_no_sense_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(two_groups()[0])

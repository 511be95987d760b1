"""One mean and one deviation for all images, and the published one."""

import numpy as np
import pytest

from covid_cxr.images import as_published, normalise, pooled

FILMS = [np.full((2, 2), 0.2), np.array([[0.0, 1.0, 0.5, 0.5]])]


def test_pooled_is_of_all_pixels_and_published_of_per_image_figures():
    values = np.array([0.2] * 4 + [0, 1, 0.5, 0.5])
    found = pooled(FILMS)
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std())
    published = as_published(FILMS)
    assert published.mean == pytest.approx((0.2 + 0.5) / 2)
    assert published.std == pytest.approx((0 + np.sqrt(0.125)) / 2)
    assert published.std < found.std


def test_normalised_pixels_have_mean_0_and_deviation_1():
    films = np.random.default_rng(0).random((5, 8, 8))
    done = normalise(films, pooled(films))
    assert done.mean() == pytest.approx(0, abs=1e-12)
    assert done.std() == pytest.approx(1)


@pytest.mark.parametrize("statistics", [pooled, as_published])
@pytest.mark.parametrize(
    ("films", "words"),
    [([], "expected at least one"), ([np.ones((2, 2))], "expected pixels that differ")],
)
def test_nothing_to_scale_by(statistics, films, words):
    with pytest.raises(ValueError, match=words):
        statistics(films)

"""Montgomery and Shenzhen: masks, and readings of no fixed form."""

import math

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.sources.tuberculosis import reading
from tests.covid_cxr import trees


def test_montgomery(tmp_path):
    index, problems = sources.build(trees.montgomery(tmp_path))
    assert problems == []
    assert index.patient.tolist() == ["montgomery/0001", "montgomery/0104"]
    assert index.labels["tuberculosis"].tolist() == [0, 1]
    assert index.sex.tolist() == ["F", "F"] and index.age.tolist() == [27, 27]
    right, left = (
        sources.read_mask(index, 0, name) for name in ("right_lung", "left_lung")
    )
    np.testing.assert_array_equal(right, trees.box_mask() == 255)
    np.testing.assert_array_equal(left, right[:, ::-1])
    np.testing.assert_array_equal(sources.read_mask(index, 0), left | right)


def test_shenzhen(tmp_path):
    index, problems = sources.build(trees.shenzhen(tmp_path))
    assert problems == []
    assert index.sex.tolist() == ["M", "F"] and index.age.tolist() == [45, 2]
    assert index.flag("child").tolist() == [False, True]
    # Not every film has a mask.
    assert index.mask("lungs").tolist() == ["mask/CHNCXR_0001_0_mask.png", ""]
    with pytest.raises(ValueError, match="has no 'left_lung' mask"):
        sources.read_mask(index, 1)
    # Grey written as colour.
    film = sources.read(index, 0)
    assert "rgb" in film.flags
    np.testing.assert_array_equal(film.pixels, trees.picture(100) / np.float32(255))


@pytest.mark.parametrize(
    ("text", "sex", "age"),
    [
        ("Patient's Sex: F\nPatient's Age: 031Y\nnormal", "F", 31),
        ("Patient's Sex: M \nPatient's Age: 006M", "M", 0.5),
        ("male 45yrs\nnormal", "M", 45),
        ("Female, 24 months", "F", 2),
        ("female\n33yrs \nPTB in the left", "F", 33),
        ("45yrs Male", "M", 45),
        ("PTB", "", math.nan),
    ],
)
def test_readings(text, sex, age):
    found = reading(text)
    assert found[0] == sex
    np.testing.assert_allclose(found[1], age, equal_nan=True)

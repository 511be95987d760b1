"""Wilson intervals, by hand and by their defining equation."""

import math

import pytest

from binary.statistics import wilson


def test_known_interval():
    found = wilson(8, 10)  # Brown, Cai and DasGupta's usual example
    assert found[:3] == (8, 10, 0.8)
    assert found.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.high == pytest.approx(0.9433178, abs=1e-6)


@pytest.mark.parametrize(("count", "total"), [(1, 7), (50, 200), (199, 200)])
def test_ends_are_where_the_score_test_is_at_its_bound(count, total):
    found = wilson(count, total, level=0.9)
    for end in (found.low, found.high):
        error = math.sqrt(end * (1 - end) / total)
        assert abs(found.value - end) / error == pytest.approx(1.6448536, rel=1e-6)


def test_none_and_all():
    assert wilson(0, 20).low == 0 and 0 < wilson(0, 20).high < 0.2
    assert wilson(20, 20).high == 1 and 0.8 < wilson(20, 20).low < 1


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [((0, 0), {}, "total"), ((3, 2), {}, "count"), ((1, 2), {"level": 1.0}, "level")],
)
def test_bad_arguments_are_refused(arguments, options, name):
    with pytest.raises(ValueError, match=f"{name}: expected"):
        wilson(*arguments, **options)

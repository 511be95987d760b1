"""The label without a pixel."""

import numpy as np
import pytest

from covid_cxr.bias import metadata
from tests.covid_cxr.bias.cohorts import table

N = 60


def test_columns_become_numbers():
    index, _ = table(
        range(3),
        [0, 1, 0],
        ["a", "b", "b"],
        view=["PA", "AP", "UNKNOWN"],
        sex=["M", "", "F"],
        age=[30.0, np.nan, 50.0],
        height=[10, 0, 20],
        width=[20, 0, 20],
    )
    both = metadata.features(index, ("age", "aspect"))
    np.testing.assert_allclose(both[:, 0], [30, 40, 50])
    np.testing.assert_array_equal(both[:, 1], [0, 1, 0])
    np.testing.assert_allclose(both[:, 2], [np.log(2), np.log(2) / 2, 0])
    assert metadata.features(index).shape == (3, 5 + 3 + 2 + 2 + 2)
    np.testing.assert_array_equal(
        metadata.features(index, ("source",)), [[1, 0], [0, 1], [0, 1]]
    )
    with pytest.raises(ValueError, match="columns: expected some of"):
        metadata.features(index, ("colour",))


@pytest.mark.parametrize("column", ["view", "age", "spacing", "aspect", "source"])
def test_any_column_that_tells_the_label_fires(column):
    label = np.arange(N) % 2
    told = {
        "view": {"view": np.where(label, "AP", "PA").tolist()},
        "age": {"age": (30.0 + 20 * label).tolist()},
        "spacing": {"spacing": np.where(label, 0.2, np.nan).tolist()},
        "aspect": {"height": [100] * N, "width": (100 + 20 * label).tolist()},
        "source": {},
    }[column]
    source = np.where(label, "a", "b") if column == "source" else ["one"] * N
    index, label = table(range(N), label, source, **told)
    alone = metadata.source_only(index, label)
    assert metadata.metadata_only(index, label).fires == (column != "source")
    assert alone.fires == (column == "source")

"""Chunks leave no trace."""

import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.models.chunks import chunked


@pytest.mark.parametrize("count", [1, 5, 7, 10])
def test_chunks_leave_no_trace(count):
    x = jnp.arange(2.0 * count).reshape(count, 2)
    pair = {"x": x, "y": x[:, 0]}
    found = chunked(lambda d: {"sum": d["x"].sum(axis=1) + d["y"]}, pair, size=5)
    np.testing.assert_array_equal(found["sum"], x.sum(axis=1) + x[:, 0])

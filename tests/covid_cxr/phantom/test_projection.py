"""The cosine transform behind the block artefact."""

import jax.numpy as jnp
import numpy as np

from covid_cxr.phantom.projection import blocks, cosine_matrix
from tests.covid_cxr.trees import picture


def test_the_transform_is_orthonormal():
    basis = cosine_matrix()
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=1e-6)


def test_blocks_by_a_loop():
    image = picture(1, (40, 36)) / 255
    found = np.asarray(blocks(jnp.asarray(image, jnp.float32)))
    basis = cosine_matrix().astype(float)
    quantum = 0.12 * (1 + np.add.outer(np.arange(8), np.arange(8)))
    wanted = image.copy()
    for i in range(0, 40, 8):
        for j in range(0, 32, 8):
            spectrum = basis @ image[i : i + 8, j : j + 8] @ basis.T
            spectrum = np.round(spectrum / quantum) * quantum
            wanted[i : i + 8, j : j + 8] = basis.T @ spectrum @ basis
    # A coefficient near a half may round either way in float32.
    assert (np.abs(found - wanted) > 1e-4).mean() < 0.1
    # The last four columns fill no block.
    np.testing.assert_allclose(found[:, 32:], image[:, 32:], atol=1e-6)

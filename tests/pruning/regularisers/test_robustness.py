import jax.numpy as jnp
import numpy as np
import pytest

from pruning.regularisers import robustness
from synaptax.data.images import Batch
from synaptax.nets.models import as_network


def test_the_calibration_error_is_the_gap_of_each_bin_weighted():
    # Confidences 0.9, 0.9, 0.6, of which one of two and the third are right.
    logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    gaps = 2 * abs(0.5 - 0.9) + abs(1 - 0.6)
    error = robustness.calibration_error(logits, np.array([0, 1, 1]))
    assert error == pytest.approx(gaps / 3)


def test_noise_and_cuts_are_measured_on_the_weights_that_are_given():
    generator = np.random.RandomState(1)
    image = generator.standard_normal((700, 1, 1, 4)).astype(np.float32)
    weights = np.array([[4, -4], [0.1, 0], [0, 0.1], [0, 0.1]], np.float32)
    net = as_network(lambda params, x: x.reshape(len(x), 4) @ params["w"])
    label = (image.reshape(-1, 4) @ weights).argmax(-1)
    found = robustness.measure(
        net, {"w": jnp.asarray(weights)}, {}, Batch(image, label)
    )
    assert found["error"] == 0
    assert 0 < found["noise"]["0.25"] < found["noise"]["0.5"] < 0.3
    # A quarter of eight weights: the two of the first row alone decide.
    kept = (image.reshape(-1, 4)[:, :1] @ weights[:1]).argmax(-1)
    assert found["pruned"]["0.25"] == pytest.approx((kept != label).mean())
    assert found["pruned"]["0.7"] == 0

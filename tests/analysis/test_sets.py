"""Means over a set do not depend on the batch."""

import jax.numpy as jnp
import numpy as np
import pytest

from analysis import _sets

X = np.random.default_rng(0).normal(size=(23, 3)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 5, 23, 1000])
def test_the_last_batch_weighs_as_much_as_it_holds(batch):
    def means(part):
        return {"x": part[0].mean(0), "half": part[1].astype(jnp.bfloat16).mean()}

    found = _sets.mean_over(means, (jnp.asarray(X), jnp.ones(23)), batch)
    np.testing.assert_allclose(found["x"], X.astype(np.float64).mean(0), rtol=2e-6)
    assert found["half"].dtype == jnp.float32
    assert float(found["half"]) == pytest.approx(1, abs=1e-6)


def test_bad_sets():
    with pytest.raises(ValueError, match="batch: expected at least 1, got 0"):
        _sets.mean_over(lambda part: part.mean(), jnp.ones(3), 0)
    for data in ((), jnp.ones((0, 2)), (jnp.ones(3), jnp.ones(4)), jnp.float32(1)):
        with pytest.raises(ValueError, match="data: expected arrays with one leading"):
            _sets.size_of(data)


def test_the_first_bad_value_is_named():
    _sets.check_finite(np.ones(3), range(3), "loss")
    with pytest.raises(ValueError, match=r"loss: the value at 1 is not finite \(2 of"):
        _sets.check_finite([0.0, np.inf, np.nan], range(3), "loss")

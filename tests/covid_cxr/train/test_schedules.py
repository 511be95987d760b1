"""The plateau against a transcript of the rule in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.train.schedules import cosine, plateau_start, plateau_step


class Reference:
    """ReduceLROnPlateau, mode min, relative threshold 1e-4, no cooldown."""

    def __init__(self, patience, factor):
        self.patience, self.factor = patience, factor
        self.best, self.bad, self.rate = float("inf"), 0, 1.0

    def step(self, loss):
        if loss < self.best * (1 - 1e-4):
            self.best, self.bad = loss, 0
        else:
            self.bad += 1
        if self.bad > self.patience:
            self.rate *= self.factor
            self.bad = 0
        return self.rate


@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_follows_the_reference(patience):
    rng = np.random.default_rng(patience)
    losses = np.round(rng.random(60) + np.linspace(1, 0, 60), 1)
    losses[10] = np.nan
    reference = Reference(patience, 0.5)
    step = jax.jit(lambda s, x: plateau_step(s, x, patience=patience, factor=0.5))
    state = plateau_start()
    for loss in losses:
        state = step(state, jnp.float32(loss))
        assert float(state.factor) == reference.step(loss)
    assert reference.rate < 1


def test_cosine():
    found = [float(cosine(jnp.int32(k), 4)) for k in range(5)]
    np.testing.assert_allclose(found, [1, 0.85355, 0.5, 0.14645, 0], atol=1e-5)

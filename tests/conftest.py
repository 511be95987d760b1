"""Strictness shared by every test: no silent rank or dtype promotion."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key() -> jax.Array:
    """Return a typed PRNG key, the same for every test."""
    return jax.random.key(0)

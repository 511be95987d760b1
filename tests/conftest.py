"""Strictness shared by every test: no silent rank or dtype promotion."""

import os

# Most of a test's time is compilation, which a lower level nearly halves. The commands
# that tests start inherit it; a level given from outside stands.
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = " ".join(
        [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=1"]
    ).strip()

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key() -> jax.Array:
    """Return a typed PRNG key, the same for every test."""
    return jax.random.key(0)

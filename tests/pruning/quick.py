"""Compile without optimisation, for tests of tiny networks that mostly compile."""

import contextlib

import jax


@contextlib.contextmanager
def compiled_quickly():
    """Compile what is traced inside with little optimisation, hence sooner."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)

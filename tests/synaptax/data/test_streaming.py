"""A stream gives the rows, and the bits, that an array would."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed, resident
from synaptax.training import scan_batches


@pytest.fixture(scope="module")
def both():
    """Return a stream of rows of two arrays, and the same rows as an array."""
    rng = np.random.default_rng(0)
    first, second = (
        rng.integers(0, 65536, (count, 6, 6), np.uint16) for count in (30, 20)
    )
    rows, array = np.r_[29:3:-1, 0:20], np.r_[np.zeros(26, int), np.ones(20, int)]
    whole = np.concatenate([first[29:3:-1], second])
    return Streamed([first, second], rows, array), whole


def test_it_reads_as_an_array_does(both):
    stream, whole = both
    assert (stream.shape, stream.dtype, stream.ndim) == (whole.shape, whole.dtype, 3)
    assert stream.nbytes == whole.nbytes and len(stream) == len(whole)
    np.testing.assert_array_equal(np.asarray(stream), whole)
    third = np.arange(46) % 3 == 0
    for rows in (3, slice(2, 9), [4, 1, 1], np.array([[1, 2], [45, 0]]), third):
        np.testing.assert_array_equal(stream[rows], whole[rows])
    np.testing.assert_array_equal(stream.take([7, 2]).take([1]), whole[[2]])
    np.testing.assert_array_equal(np.concatenate(list(stream.chunks(7))), whole)
    np.testing.assert_array_equal(Streamed([whole[:9], whole[9:]]), whole)


def test_rows_that_are_not_there_are_refused(both):
    with pytest.raises(ValueError, match="rows: expected rows of arrays of"):
        Streamed([both[1]], np.array([46]))
    with pytest.raises(ValueError, match="one shape and dtype"):
        Streamed([both[1], both[1].astype(np.uint8)])
    with pytest.raises(IndexError):
        both[0].take([46])


@pytest.mark.parametrize("over", [jax.vmap, lambda f: lambda x: lax.map(f, x)])
def test_a_scanned_epoch_has_the_same_bits(both, over):
    stream, whole = both
    order = jnp.asarray(np.random.default_rng(1).integers(0, 46, (3, 10, 4)))
    compiled = []

    @jax.jit
    def epochs(data, order):
        compiled.append(1)

        def step(w, batch, _):
            x = batch.image.astype(jnp.float32) / 65535
            loss = (jnp.tanh(w * x).mean((1, 2)) * batch.label).sum()
            return w - 0.1 * loss, loss

        run = lambda one: scan_batches(step, jnp.float32(0.3), data, one, one)
        return over(run)(order)

    label = jnp.arange(46, dtype=jnp.float32)
    expected = epochs(Batch(jnp.asarray(whole), label), order)
    got = epochs(Batch(stream, label), order)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    # Another stream of the shape is no other program.
    turned = stream.take(np.arange(46)[::-1])
    again = epochs(Batch(turned, label[::-1]), 45 - order)
    jax.tree.map(np.testing.assert_array_equal, again, expected)
    assert len(compiled) == 2


def test_a_stream_lives_as_long_as_what_was_made_of_it(both):
    def copied():
        return jax.device_put(both[0].take(np.arange(5)))

    copy = copied()
    gc.collect()
    np.testing.assert_array_equal(copy[jnp.arange(5)], both[1][:5])


def test_a_stream_that_a_program_returns_is_the_one_it_was_given(both):
    first, second = both[0].take(np.arange(5)), both[0].take(np.arange(5, 10))
    same = jax.jit(lambda stream: stream)
    for stream, rows in ((first, both[1][:5]), (second, both[1][5:10])):
        np.testing.assert_array_equal(np.asarray(same(stream)), rows)
        np.testing.assert_array_equal(same(stream)[jnp.arange(5)], rows)


def test_few_examples_are_put_on_the_device(both):
    stream, whole = both
    there = resident(stream)
    assert isinstance(there, jax.Array) and there.dtype == np.uint16
    np.testing.assert_array_equal(there, whole)
    assert resident(stream, fits=whole.nbytes - 1) is stream
    assert resident(whole) is whole

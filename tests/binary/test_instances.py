"""Instances: what is drawn, what is padded, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary import instances

KEY = jax.random.key(5)


def test_storage_is_fixed_by_its_key():
    one = instances.storage(KEY, 101, 0.5)
    assert one.patterns.shape == (50, 101) and one.patterns.dtype == jnp.int8
    assert set(np.unique(one.patterns)) == set(np.unique(one.labels)) == {-1, 1}
    assert abs(float(jnp.mean(one.patterns.astype(jnp.float32)))) < 4 / 5050**0.5
    again = instances.storage(KEY, 101, 0.5)
    np.testing.assert_array_equal(one.patterns, again.patterns)


def test_teacher_is_right_on_every_pattern():
    for real in (False, True):
        one = instances.teacher_student(KEY, 101, 0.5, real=real)
        fields = np.asarray(one.patterns, float) @ np.asarray(one.teacher, float)
        assert np.all(fields > 0)
        assert set(np.unique(one.labels)) == {-1, 1}  # so that the test is not empty


def test_labels_are_folded_into_the_patterns():
    one = instances.instance([[1, -1, 1], [1, 1, 1]], [1, -1], margin=0.5)
    np.testing.assert_array_equal(one.patterns, [[1, -1, 1], [-1, -1, -1]])
    assert float(one.margin) == 0.5


def test_stacking_pads_the_shorter_ones():
    pair = [instances.storage(KEY, 21, load) for load in (0.2, 0.5)]
    both = instances.stack(pair)
    assert both.patterns.shape == (2, 10, 21)
    np.testing.assert_array_equal(both.valid.sum(1), [4, 10])
    np.testing.assert_array_equal(both.patterns[0, :4], pair[0].patterns)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: instances.storage(KEY, 100, 0.5), "size: 100 is even"),
        (lambda: instances.teacher_student(KEY, 100, 0.5), "size: 100 is even"),
        (lambda: instances.instance(np.ones((3, 4), int)), "size: 4 is even"),
        (lambda: instances.storage(KEY, 101, 0.0), "load: 0.0 at size 101 leaves no"),
        (lambda: instances.storage(KEY, 101, np.nan), "load: nan at size 101"),
        (lambda: instances.storage(KEY, 0, 0.5), "size: expected at least 1"),
        (lambda: instances.instance(np.ones((0, 5), int)), "inputs: expected at least"),
        (lambda: instances.instance(np.ones(5, int)), "inputs: expected a matrix"),
        (lambda: instances.instance([[1, 0, 1]]), "inputs: expected only .* got 0"),
        (
            lambda: instances.instance(np.full((1, 3), 0.5), binary=True),
            r"inputs: expected only \+1 and -1, got 0.5",
        ),
        (
            lambda: instances.instance(np.array([[1.0, np.inf]])),
            "inputs: expected finite",
        ),
        (
            lambda: instances.instance(np.ones((2, 3), int), [1, 1, 1]),
            "labels: expected 2",
        ),
        (
            lambda: instances.instance(np.ones((2, 3), int), [1, 0]),
            "labels: expected o",
        ),
        (lambda: instances.instance([[1, 1, 1]], margin=-1.0), "margin: expected"),
        (lambda: instances.stack([]), "instances: expected at least one"),
        (
            lambda: instances.stack([instances.storage(KEY, n, 0.5) for n in (5, 7)]),
            "instances: expected one size",
        ),
    ],
)
def test_bad_instances_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_even_sizes_are_fine_where_no_tie_can_be():
    assert instances.storage(KEY, 10, 0.5, real=True).patterns.shape == (5, 10)
    assert instances.storage(KEY, 10, 0.5, margin=0.1).patterns.shape == (5, 10)

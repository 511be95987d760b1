"""Devices along the seeds and along a batch."""

import jax
import numpy as np
import pytest

from synaptax.data.images import Batch
from synaptax.training import sharding


def test_a_batch_lies_along_its_devices():
    mesh = sharding.make_mesh(2, 4)
    placed = jax.jit(sharding.placing(mesh))(Batch(np.zeros((8, 6, 6, 2)), np.zeros(8)))
    shards = placed.image.addressable_shards
    assert {shard.data.shape[0] for shard in shards} == {2} and len(shards) == 8


def test_one_device_needs_no_mesh_and_too_many_are_refused():
    assert sharding.make_mesh(1, 1) is None
    with pytest.raises(ValueError, match=r"mesh: expected at most 8 .* 4 x 4 = 16"):
        sharding.make_mesh(4, 4)

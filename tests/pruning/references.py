"""Obvious, slow references in NumPy, and small helpers, for the tests of masks."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


def every(name, leaf):
    return True


def ranked(flat):
    """Return indices best first: NaN last, ties by index."""
    flat = np.asarray(flat, np.float64)
    return np.lexsort((np.arange(flat.size), -flat, np.isnan(flat)))


def oracle(tree, density, scope="global", floor=0):
    """Choose one by one, in the order of a stable sort."""
    names = sorted(tree)
    sizes = [np.asarray(tree[name]).size for name in names]
    if scope == "layer":
        result = {}
        for name, size in zip(names, sizes, strict=True):
            kept = max(round(density * size), min(floor, size))
            flags = np.zeros(size, bool)
            flags[ranked(np.ravel(tree[name]))[:kept]] = True
            result[name] = flags.reshape(np.shape(tree[name]))
        return result
    flat = np.concatenate([np.ravel(tree[name]) for name in names])
    owner = np.repeat(np.arange(len(names)), sizes)
    order = ranked(flat)
    flags = np.zeros(flat.size, bool)
    for leaf, size in enumerate(sizes):
        mine = order[owner[order] == leaf]
        flags[mine[: min(floor, size)]] = True
    for index in order:
        if flags.sum() >= round(density * flat.size):
            break
        flags[index] = True
    parts = np.split(flags, np.cumsum(sizes)[:-1])
    return {n: p.reshape(np.shape(tree[n])) for n, p in zip(names, parts, strict=True)}


def same(found, wanted):
    for name in wanted:
        np.testing.assert_array_equal(np.asarray(found[name]), wanted[name], name)


def on_devices(tree, specs):
    mesh = jax.make_mesh((8,), ("d",))
    return {
        name: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*specs[name])))
        for name, leaf in tree.items()
    }

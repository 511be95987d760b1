"""What tests of convolutional networks share: slow references, a look inside."""

import jax
import numpy as np


def reference_convolve(x, kernel, *, stride=1, pad=0):
    """Return the cross-correlation, one output position at a time."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    (_, rows, columns, _), (height, width, _, _) = x.shape, kernel.shape
    out = [
        [
            np.einsum("bhwc,hwco->bo", x[:, i : i + height, j : j + width], kernel)
            for j in range(0, columns - width + 1, stride)
        ]
        for i in range(0, rows - height + 1, stride)
    ]
    return np.transpose(np.array(out), (2, 0, 1, 3))


def reference_depthwise(x, kernel, *, stride=1, pad=0):
    """Return the cross-correlation of each channel with its own filter."""
    maps = [
        reference_convolve(
            x[..., c : c + 1], kernel[..., c : c + 1], stride=stride, pad=pad
        )
        for c in range(x.shape[-1])
    ]
    return np.concatenate(maps, axis=-1)


def reference_norm(x, layer, moments):
    """Return batch-norm by given moments."""
    scale = layer["scale"] / np.sqrt(moments["var"] + 1e-5)
    return (x - moments["mean"]) * scale + layer["bias"]


def entering_relus(function, *arguments):
    """Return (shape, primitive that made it) of what enters each ReLU, in order."""
    found = []

    def visit(jaxpr, made):
        for eqn in jaxpr.eqns:
            makers = [None if hasattr(v, "val") else made.get(v) for v in eqn.invars]
            if eqn.params.get("name") == "relu":
                found.append((eqn.invars[0].aval.shape, makers[0]))
                continue
            for inner in eqn.params.values():
                if hasattr(inner, "jaxpr"):  # a call: its inputs are the equation's
                    visit(
                        inner.jaxpr, dict(zip(inner.jaxpr.invars, makers, strict=True))
                    )
            made |= dict.fromkeys(eqn.outvars, eqn.primitive.name)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr, {})
    return found


def random_tree(key, like):
    """Return positive numbers in the structure of a tree, a few tenths around one."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        1 + 0.3 * jax.random.uniform(k, leaf.shape)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)

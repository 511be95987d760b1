"""Reports of small trees whose numbers were counted by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import compact, magnitude_mask, neuron
from pruning._report import Report, Tally, report, to_text
from synaptax.nets import lenets


def tree():
    """Return a dense kernel, a bias and a convolution, 3 + 1 + 5 non-zeros."""
    kernel = np.zeros((3, 4), np.float32)
    kernel[[0, 1, 2], [1, 1, 3]] = (1.0, -2.0, 1e-30)
    bias = np.array([0.0, 0.0, 0.5, 0.0], np.float32)
    conv = np.zeros((2, 2, 1, 5), np.float16)
    conv[0, 1, 0, :] = 1
    return {"a": {"bias": bias, "kernel": kernel}, "conv": conv}


def test_counts_of_what_is_not_zero():
    counted = report(jax.tree.map(jnp.asarray, tree()))
    bias, kernel, conv = counted.leaves
    assert [leaf.path for leaf in counted.leaves] == ["a/bias", "a/kernel", "conv"]
    assert [leaf.shape for leaf in counted.leaves] == [(4,), (3, 4), (2, 2, 1, 5)]
    assert [leaf.prunable for leaf in counted.leaves] == [False, True, True]
    assert [leaf.entries for leaf in counted.leaves] == [(1, 4), (3, 12), (5, 20)]
    assert counted.prunable_weights == Tally(8, 32)
    assert counted.all_parameters == Tally(9, 36)
    assert counted.prunable_weights.compression == 4.0
    assert counted.all_parameters.density == 0.25
    # float32: bias 4 * 4, kernel 12 * 4; float16: conv 20 * 2.
    assert [leaf.dense_bytes for leaf in counted.leaves] == [16, 48, 40]
    # Bits rounded up to bytes, then values: 1 + 4, 2 + 12, 3 + 10.
    assert [leaf.sparse_bytes for leaf in counted.leaves] == [5, 14, 13]
    assert (counted.dense_bytes, counted.sparse_bytes) == (104, 32)
    assert kernel.multiply_adds == Tally(3, 12) == counted.multiply_adds
    assert bias.multiply_adds is None and conv.multiply_adds is None
    assert all(type(n) is int for leaf in counted.leaves for n in leaf.entries)


def test_a_mask_decides_and_a_whole_leaf_needs_no_bits():
    params = tree()
    mask = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), params)
    mask["a"]["kernel"][0] = False
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    for given in (params, shapes):
        counted = report(given, mask)
        assert [leaf.entries.kept for leaf in counted.leaves] == [4, 8, 20]
        assert [leaf.sparse_bytes for leaf in counted.leaves] == [16, 2 + 32, 40]


def test_the_predicate_names_the_denominator():
    counted = report(tree(), prunable=lambda name, leaf: name.startswith("a/"))
    assert counted.prunable_weights == Tally(4, 16)
    assert counted.all_parameters == Tally(9, 36)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_everything_and_nothing(value):
    counted = report({"k": jnp.full((2, 4), value, jnp.bfloat16)})
    kept = 8 if value else 0
    assert counted.all_parameters == Tally(kept, 8)
    assert counted.all_parameters.compression == (1.0 if value else math.inf)
    assert counted.sparse_bytes == (16 if value else 1)
    assert ("none kept" in to_text(counted)) == (not value)


def test_nothing_prunable_has_no_ratio():
    counted = report({"bias": jnp.ones(3)})
    assert counted.prunable_weights == Tally(0, 0)
    assert math.isnan(counted.prunable_weights.density)
    assert math.isnan(counted.prunable_weights.compression)
    (row,) = (r for r in to_text(counted).splitlines() if r.startswith("prunable"))
    assert row.split() == ["prunable", "weights", "0", "0", "-", "-"]
    assert report({}) == Report(())
    assert "all parameters" in to_text(report({}))


def test_the_text_says_every_number():
    lines = to_text(report(tree())).splitlines()
    assert lines[0].split() == (
        ["leaf", "shape", "kept", "total", "density", "compression", "bytes"]
    )
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["a/kernel"][1:] == (
        ["3x4", "3", "12", "25.00", "%", "4.0x", "48", "->", "14"]
    )
    assert rows["prunable weights"][2:] == ["8", "32", "25.00", "%", "4.0x"]
    assert rows["all parameters"][2:7] == ["9", "36", "25.00", "%", "4.0x"]
    assert rows["all parameters"][7:] == ["104", "->", "32"]
    assert "per example: 12 with the zeros, 3 without" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_a_report_prints_as_its_table_and_is_escaped_for_a_notebook():
    counted = report({"a<b": jnp.ones((2, 2))})
    assert str(counted) == to_text(counted) and "\n" in str(counted)
    shown = counted._repr_html_()
    assert shown.startswith("<pre>") and "a&lt;b" in shown and "->" not in shown


def attention(params, x):
    """Return self-attention with one weight product, by einsum."""
    y = jnp.einsum("btd,de->bte", x, params["w"])
    return jnp.einsum("bts,bse->bte", jnp.einsum("bte,bse->bts", y, y), y)


def stacked(params, x):
    """Return a scan over a stack of three square layers, under a custom rule."""
    step = lambda h, w: (jax.nn.relu(h @ w), None)
    return jax.lax.scan(step, x, params["w"])[0]


def convolved(params, x):
    """Return a strided convolution whose kernel comes flattened and transposed."""
    kernel = jnp.transpose(params["k"].reshape(4, 2, 3, 3), (2, 3, 1, 0))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=numbers
    )


@pytest.mark.parametrize(
    ("apply_fn", "name", "shape", "x", "total", "share"),
    [
        # (5, 4) @ (4, 6), then two products of activations, 5 * 5 * 6 each.
        (attention, "w", (4, 6), (2, 5, 4), 5 * 4 * 6 + 2 * 5 * 5 * 6, None),
        (stacked, "w", (3, 4, 4), (2, 4), 3 * 16, 1),
        # 4 filters over 2 channels, 3 x 3, at 4 x 3 places.
        (convolved, "k", (4, 18), (2, 7, 6, 2), 4 * 3 * 4 * 18, 1),
    ],
)
def test_multiply_adds_are_counted_by_tracing(apply_fn, name, shape, x, total, share):
    params = {name: np.ones(shape, np.float32)}
    params[name].reshape(-1)[::4] = 0
    left = int(params[name].sum())
    counted = report(params, apply_fn=apply_fn, x=jnp.ones(x))
    dense, zeros = counted.forms
    assert dense.multiply_adds == Tally(total, total)
    own = total if share else 5 * 4 * 6
    kept = own * left // params[name].size + total - own
    assert zeros.multiply_adds == Tally(kept, total)


def test_encodings_by_hand():
    kernel = np.zeros((3, 300), np.float32)
    kernel[0, :5] = 1
    counted = report({"kernel": kernel, "bias": np.ones(3, np.float32)})
    # 5 values; 900 bits; columns below 300 in 2 bytes, 4 ends of rows in 1; 2 a place.
    assert counted.encodings == {
        "dense": 3600 + 12,
        "bitmask": 113 + 20 + 12,
        "csr": 5 * (4 + 2) + 4 + 12,
        "coordinates": 5 * (4 + 2) + 12,
    }


def test_forms_say_what_is_real():
    module = lenets.LeNet300(3, widths=(8, 4))
    x = jnp.ones((2, 4, 4, 1))
    params = module.init(jax.random.key(0), x)["params"]
    mask = magnitude_mask(params, 0.5, structure=neuron())
    apply_fn = lambda p, x: module.apply({"params": p}, x)
    small = compact(module, params, x, mask=mask)
    counted = report(
        params, mask, apply_fn=apply_fn, x=x, compacted=small, batches=(1, 3)
    )
    dense, zeros, less = counted.forms
    assert dense.multiply_adds == Tally(172, 172) and zeros.multiply_adds.total == 172
    assert less.multiply_adds.total <= zeros.multiply_adds.kept < 172
    assert less.parameters < zeros.parameters == dense.parameters
    assert all(set(form.latency) == {1, 3} for form in counted.forms)
    text = str(counted)
    assert "on paper: " in text and "measured: compacted at batch 3: " in text
    with pytest.raises(ValueError, match="apply_fn, x: expected both or neither"):
        report(params, apply_fn=apply_fn)
    with pytest.raises(ValueError, match="compacted, batches: need apply_fn and x"):
        report(params, batches=(1,))
    loop = lambda p, x: jax.lax.while_loop(
        lambda h: h.sum() < 1, lambda h: h @ p["w"], x
    )
    with pytest.raises(ValueError, match="products inside while cannot be counted"):
        report({"w": jnp.eye(4)}, apply_fn=loop, x=jnp.ones((1, 4)))


def test_bad_input():
    params = tree()
    with pytest.raises(ValueError, match="mask: leaf conv is missing"):
        report(params, {"a": params["a"]})
    with pytest.raises(ValueError, match="mask: leaf a/bias is float32, expected bool"):
        report(params, params)
    with pytest.raises(ValueError, match="params: leaf k is a ShapeDtypeStruct"):
        report({"k": jax.ShapeDtypeStruct((2, 2), jnp.float32)})
    with pytest.raises(ValueError, match="params: expected concrete arrays"):
        jax.jit(lambda p: report(p).all_parameters.kept)({"k": jnp.ones((2, 2))})

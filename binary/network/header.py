"""A packed network as a plain C header: integers, exclusive or and population counts.

What NumPy compares with a real number is compared with a whole one here: a sum s of
signs or pixels is on the upper side where ``scale * s + shift * inside + bias >= 0``,
and rounded sums and products never fall as s rises, so that one least s says it all.
The logits alone are real, each one sum of an integer and a bias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from binary.network.artefact import predict, weights
from binary.network.packed import Packed, PackedLayer, check

_MOST = 2**53  # sums that a float64 holds exactly, as predict() has them
_WORD = 32
_BODY = """
static inline int NAME_count(uint32_t v) /* bits that are set */
{
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    return (int)((((v + (v >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24);
}

static inline int32_t NAME_field(const uint32_t *w, const uint32_t *s, int n)
{
    int differ = 0, i; /* sum of w_i s_i = n - 2 |w xor s| */
    for (i = 0; i < (n + 31) / 32; i++) differ += NAME_count(w[i] ^ s[i]);
    return n - 2 * differ;
}

static inline int64_t NAME_sum(const uint32_t *w, const int32_t *p, int n)
{
    int64_t sum = 0;
    int i;
    for (i = 0; i < n; i++) sum += (w[i / 32] >> (i % 32)) & 1u ? p[i] : -(int64_t)p[i];
    return sum;
}
"""
_LOGITS = """    for (o = 0; o < {units}; o++) {{
        volatile double scaled = {scale} * (double){sum}; /* rounded, never fused */
        volatile double moved = scaled + NAME_moved[o];
        {real} logit = ({real})(moved + (double)NAME_bias[o]);
        if (o == 0 || logit > best) {{ best = logit; answer = o; }}
    }}
    return answer;
}}
"""
_CHECK = """
static inline int NAME_check(void) /* examples that are answered otherwise: 0 */
{{
    static const int32_t pixels[{count}][{inputs}] = {{{pixels}}};
    static const int classes[{count}] = {{{classes}}};
    int wrong = 0, i;
    for (i = 0; i < {count}; i++) wrong += NAME_predict(pixels[i]) != classes[i];
    return wrong;
}}
"""


def c_header(network: Packed, examples: Any, *, name: str = "network") -> str:
    """Return a C99 header that predicts as :func:`binary.network.predict` does.

    It declares ``int NAME_predict(const int32_t *pixels)``, ``int NAME_check(void)``,
    which counts the examples answered otherwise, NAME_INPUTS and NAME_CLASSES; it needs
    no library and no memory but the stack.

    Args:
        network: of dense layers; the first takes fewer than 2^22 inputs.
        examples: (B, ...) pixels in the range of int32 that NAME_check repeats.
        name: what names in the header begin with, an identifier of C.

    Raises:
        ValueError: for a convolution, a name that is none, or examples that do not fit.

    Example:
        >>> m, bias = np.array([[0.3, -0.2]] * 9), np.zeros(2)
        >>> params = {"layer_0": {"m": m, "bias": bias}}
        >>> packed = binary.network.pack((binary.network.Dense(2),), params)
        >>> text = binary.network.c_header(packed, np.ones((1, 9), np.uint8))
        >>> "int network_predict(const int32_t *pixels)" in text
        True
    """
    check(network)
    first, last = network.layers[0], network.layers[-1]
    if any(layer.window is not None for layer in network.layers):
        raise ValueError("network: expected dense layers, got a convolution")
    if first.inputs >= 2**22:
        raise ValueError(f"network: expected under 2^22 inputs, got {first.inputs}")
    if not (isinstance(name, str) and re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)):
        raise ValueError(f"name: expected an identifier of C, got {name!r}")
    if not np.size(examples):
        raise ValueError("examples: expected at least one")
    classes = predict(network, examples)  # which checks them
    pixels = np.asarray(examples).reshape(len(classes), -1)
    if pixels.min() < -(2**31) or pixels.max() >= 2**31:
        raise ValueError("examples: expected pixels in the range of int32")
    parts = [
        f"/* A binarised network, {first.inputs} to {len(last.bias)}; made by synaptax."
        " */\n#ifndef NAME_H\n#define NAME_H\n#include <stdint.h>\n"
        f"#define NAME_INPUTS {first.inputs}\n#define NAME_CLASSES {len(last.bias)}\n",
        *_tables(network),
        _BODY,
        _predict(network),
        _CHECK.format(
            count=len(classes),
            inputs=first.inputs,
            pixels=_listed(f"{{{_listed(row)}}}" for row in pixels),
            classes=_listed(classes),
        ),
        "#endif\n",
    ]
    return "".join(parts).replace("NAME", name)


def _tables(network: Packed) -> list[str]:
    """Return the constants: bits, least sums, and what the logits add."""
    lines = []
    for index, layer in enumerate(network.layers):
        hidden = index < len(network.layers) - 1
        # scale < 0: scale s = |scale| (-s), so the first hidden layer's weights are
        # turned over; the logits take the scale as it is.
        rows = _words(layer, flip=hidden and not index and network.scale < 0)
        shape = f"[{rows.shape[0]}][{rows.shape[1]}]"
        table = _listed(f"{{{_listed(f'0x{w:X}u' for w in row)}}}" for row in rows)
        lines.append(f"static const uint32_t NAME_bits_{index}{shape} = {{{table}}};\n")
        if hidden:
            least = _listed(f"INT64_C({s})" for s in _least(network, index))
            size = f"[{len(rows)}]"
            lines.append(
                f"static const int64_t NAME_least_{index}{size} = {{{least}}};\n"
            )
    bias, moved = network.layers[-1].bias, np.zeros(len(network.layers[-1].bias))
    if len(network.layers) == 1:
        moved = network.shift * weights(network.layers[0]).sum(axis=0)
    for name, row in (("bias", bias), ("moved", moved)):
        real = _real(row) if name == "bias" else "double"
        # of a float32 the double is exact, and so is its hexadecimal numeral
        values = _listed(f"({real}){float(v).hex()}" for v in row)
        lines.append(f"static const {real} NAME_{name}[{len(row)}] = {{{values}}};\n")
    return lines


def _least(network: Packed, index: int) -> list[int]:
    """Return the least sum of each hidden unit whose sign is +1, by bisection."""
    layer = network.layers[index]
    if index:
        return _bisected(lambda s: s + layer.bias, layer.inputs, len(layer.bias))
    inside = network.shift * weights(layer).sum(axis=0)
    scale = abs(network.scale)  # a negative one turns the weights over, see _words
    return _bisected(lambda s: scale * s + inside + layer.bias, _MOST, len(layer.bias))


def _bisected(
    value: Callable[[np.ndarray], np.ndarray], most: int, units: int
) -> list[int]:
    """Return the least whole s within +-most with value(s) >= 0, most + 1 for none."""
    # Taken as value(low) < 0 <= value(high): the ends are never asked.
    low, high = np.full(units, -most - 1), np.full(units, most + 1)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        fits = value(middle) >= 0
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    return high.tolist()


def _words(layer: PackedLayer, flip: bool = False) -> np.ndarray:
    """Return the weights of each unit as words; input i is bit i % 32 of one."""
    bits = np.unpackbits(layer.bits, axis=0, count=layer.inputs).T ^ flip
    padded = np.zeros((len(bits), -(-layer.inputs // _WORD) * _WORD), np.uint8)
    padded[:, : layer.inputs] = bits
    packed = np.packbits(padded, axis=1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u4")


def _predict(network: Packed) -> str:
    """Return the function that goes through the layers."""
    widest = max([len(layer.bias) for layer in network.layers[:-1]], default=1)
    words, last = -(-widest // _WORD), len(network.layers) - 1
    real = _real(network.layers[-1].bias)
    lines = ["\nstatic inline int NAME_predict(const int32_t *pixels)\n{\n"]
    if last:
        lines.append(f"    uint32_t signs[2][{words}] = {{{{0}}}};\n")
    lines.append(f"    int o, answer = 0;\n    {real} best = 0;\n")
    for index, layer in enumerate(network.layers):
        into, source = index % 2, (index + 1) % 2
        call = f"field(NAME_bits_{index}[o], signs[{source}], {layer.inputs})"
        if not index:
            call = f"sum(NAME_bits_0[o], pixels, {layer.inputs})"
        if index == last:
            scale = float(network.scale if not index else 1.0).hex()
            lines.append(
                _LOGITS.format(
                    units=len(layer.bias), sum=f"NAME_{call}", real=real, scale=scale
                )
            )
            break
        lines.append(
            f"    for (o = 0; o < {words}; o++) signs[{into}][o] = 0;\n"
            f"    for (o = 0; o < {len(layer.bias)}; o++)\n"
            f"        if (NAME_{call} >= NAME_least_{index}[o])\n"
            f"            signs[{into}][o / 32] |= (uint32_t)1 << (o % 32);\n"
        )
    return "".join(lines)


def _real(values: np.ndarray) -> str:
    return "float" if values.dtype == np.float32 else "double"


def _listed(values: Iterable[Any]) -> str:
    return ",".join(map(str, values))

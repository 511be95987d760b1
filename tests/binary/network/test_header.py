"""A packed network as a C header: compiled, run, and equal to the packed model."""

import itertools
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

import binary
from binary import network

_MAIN = """
#include <stdio.h>
{includes}
int main(void)
{{
    int32_t p[{most}];
    int net, i;
    if ({checks}) return 1;
    while (scanf("%d", &net) == 1) {{
        int n = {sizes};
        for (i = 0; i < n; i++) if (scanf("%d", &p[i]) != 1) return 2;
        printf("%d\\n", {answers});
    }}
    return 0;
}}
"""


def random_network(seed, widths, dtype, **pixel):
    rng = np.random.default_rng(seed)
    layers = tuple(network.Dense(width) for width in widths[1:])
    params = {
        f"layer_{i}": {
            "m": rng.uniform(-1, 1, (a, b)),
            # halves of the root make ties of an integer sum and a bias likely
            "bias": (rng.integers(-3, 4, b) / a**0.5).astype(dtype),
        }
        for i, (a, b) in enumerate(itertools.pairwise(widths))
    }
    return network.pack(layers, params, **pixel)


def networks():
    """Return packed networks and pixels for them, of every kind that is written."""
    rng = np.random.default_rng(0)

    def pixels(low, high, size):
        return rng.integers(low, high, (200, size))

    weights = rng.choice([-1, 1], (33, 5)).astype(np.int8)
    return [
        (random_network(1, (21, 70, 33, 4), np.float32), pixels(-128, 128, 21)),
        (
            random_network(2, (64, 40, 3), np.float64, scale=1 / 255, shift=-0.5),
            pixels(0, 256, 64),
        ),
        (random_network(3, (9, 6, 2), np.float32, scale=-0.5), pixels(-9, 9, 9)),
        (
            random_network(4, (40, 5), np.float32, scale=0.1, shift=-0.1),
            pixels(0, 3, 40),
        ),
        (network.committee.pack(weights), 2 * pixels(0, 2, 33) - 1),
    ]


def test_the_compiled_header_answers_as_the_packed_model(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc: no C compiler here")
    given = networks()
    names = [f"net{i}" for i in range(len(given))]
    for name, (packed, pixels) in zip(names, given, strict=True):
        text = network.c_header(packed, pixels[:5], name=name)
        (tmp_path / f"{name}.h").write_text(text)

    def chosen(form):
        return "".join(f"net == {i} ? {form.format(n)} : " for i, n in enumerate(names))

    main = _MAIN.format(
        includes="\n".join(f'#include "{name}.h"' for name in names),
        checks=" || ".join(f"{name}_check()" for name in names),
        most=max(pixels.shape[1] for _, pixels in given),
        sizes=chosen("{}_INPUTS") + "0",
        answers=chosen("{}_predict(p)") + "-1",
    )
    (tmp_path / "main.c").write_text(main)
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2"]
    subprocess.run([compiler, *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    lines = [
        f"{i} {' '.join(map(str, row))}"
        for i, (_, pixels) in enumerate(given)
        for row in pixels
    ]
    done = subprocess.run(
        [tmp_path / "main"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = np.array(done.stdout.split(), int).reshape(len(given), 200)
    for row, (packed, pixels) in zip(answers, given, strict=True):
        np.testing.assert_array_equal(row, network.predict(packed, pixels))
        assert len(set(row)) > 1


def test_what_a_header_cannot_hold_is_refused():
    packed = random_network(1, (9, 6, 2), np.float32)
    pixels = np.ones((2, 9), np.uint8)
    with pytest.raises(ValueError, match="name: expected an identifier of C"):
        network.c_header(packed, pixels, name="a b")
    with pytest.raises(ValueError, match="examples: expected at least one"):
        network.c_header(packed, pixels[:0])
    with pytest.raises(ValueError, match="examples: expected pixels in the range"):
        network.c_header(packed, pixels * np.int64(2**40))
    with pytest.raises(ValueError, match="pixels: expected 9 integers an image"):
        network.c_header(packed, pixels[:, :8])
    window = network.Conv(2, 3)
    params = {
        "layer_0": {"m": np.ones((3, 3, 1, 2)), "bias": np.zeros(2)},
        "layer_1": {"m": np.ones((2, 2)), "bias": np.zeros(2)},
    }
    images = np.ones((1, 3, 3, 1), np.uint8)
    with pytest.raises(ValueError, match="expected dense layers, got a convolution"):
        network.c_header(network.pack((window, network.Dense(2)), params), images)


@pytest.mark.parametrize("units", [1, 3, 9])
def test_a_packed_committee_predicts_as_its_weights(units, tmp_path):
    rng = np.random.default_rng(units)
    weights = rng.choice([-1, 1], (31, units)).astype(np.int8)
    inputs = rng.choice([-1, 1], (300, 31)).astype(np.int8)
    network.save(tmp_path / "committee.npz", network.committee.pack(weights))
    served = network.load(tmp_path / "committee.npz")
    labels = 2 * network.predict(served, inputs) - 1
    wanted = binary.predict(jnp.asarray(weights), jnp.asarray(inputs))
    np.testing.assert_array_equal(labels, wanted)
    if units == 1:
        alone = network.committee.pack(weights[:, 0])
        np.testing.assert_array_equal(network.predict(alone, inputs), (labels + 1) // 2)


def test_a_committee_of_other_weights_is_not_packed():
    with pytest.raises(ValueError, match="weights: expected only"):
        network.committee.pack(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="odd number of hidden units, got 2"):
        network.committee.pack(np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"weights: expected \(N,\) or \(N, K\)"):
        network.committee.pack(np.ones((5, 3, 1)))

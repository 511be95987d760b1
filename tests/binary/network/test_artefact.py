"""The packed network: one bit a weight, the same classes in integers."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary import perceptron
from binary.network import artefact, model, packed, straight

pytestmark = pytest.mark.runs

LAYERS = (model.Dense(13), model.Dense(4))


@pytest.fixture(scope="module")
def network():
    params = model.init(jax.random.key(0), LAYERS, (4, 5))
    keys = jax.random.split(jax.random.key(1))
    for key, own in zip(keys, params.values(), strict=True):
        own["bias"] = 0.1 * jax.random.normal(key, own["bias"].shape)
    return params


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (30, 4, 5), dtype=np.uint8)


def test_the_packed_network_is_the_mode(network, pixels):
    scale, shift = 1 / 70, -0.4
    packed = artefact.pack(LAYERS, network, scale=scale, shift=shift)
    x = pixels.reshape(30, 20).astype(np.float32) * np.float32(scale) + np.float32(
        shift
    )
    wanted = model.run_signs(LAYERS, model.mode(network), jnp.asarray(x))
    np.testing.assert_array_equal(artefact.predict(packed, pixels), wanted.argmax(1))


def test_weights_come_out_as_they_went_in(network):
    packed = artefact.pack(LAYERS, network)
    for layer, own in zip(packed.layers, network.values(), strict=True):
        wanted = np.where(np.asarray(own["m"]) >= 0, 1, -1)
        np.testing.assert_array_equal(artefact.weights(layer), wanted)
        assert layer.bits.nbytes == -(-wanted.shape[0] // 8) * wanted.shape[1]


def test_a_file_holds_the_whole_network(network, pixels, tmp_path):
    packed = artefact.pack(LAYERS, network, scale=0.1, shift=-1.0)
    artefact.save(tmp_path / "weights.npz", packed)
    again = artefact.load(tmp_path / "weights.npz")
    assert (again.scale, again.shift) == (0.1, -1.0)
    np.testing.assert_array_equal(
        artefact.predict(again, pixels), artefact.predict(packed, pixels)
    )


def test_bad_input_is_named(network, pixels, tmp_path):
    packed = artefact.pack(LAYERS, network)
    with pytest.raises(ValueError, match="pixels: expected 20 integers an image"):
        artefact.predict(packed, pixels.astype(np.float32))
    with pytest.raises(ValueError, match="pixels: expected 20 integers an image"):
        artefact.predict(packed, pixels[:, :2])
    with pytest.raises(ValueError, match=r"params: Conv.* cannot have weights"):
        artefact.pack((model.Conv(2, 3), *LAYERS[1:]), network)
    with pytest.raises(ValueError, match=r"params: expected 3 layers .*layer_2"):
        artefact.pack((*LAYERS, model.Dense(3)), network)
    other = tmp_path / "other.npz"
    other.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"other\.npz: not a packed network"):
        artefact.load(other)
    np.savez(tmp_path / "empty.npz", pixel=np.zeros(2))
    with pytest.raises(ValueError, match="no layers"):
        artefact.load(tmp_path / "empty.npz")


# --- convolutions ----------------------------------------------------------------

STACKS = {
    "valid": (model.Conv(5, 3), model.Dense(4)),
    "strided": (model.Conv(5, 3, 2), model.Conv(7, 2, 2), model.Dense(4)),
    "zeros round pixels": (model.Conv(5, 3, 1, "SAME"), model.Dense(4)),
    "ones round signs": (
        model.Conv(5, 3, 2, "SAME"),
        model.Conv(6, 3, 1, "SAME", fill=1),
        model.Conv(3, 2, 2, "SAME", fill=-1),
        model.Dense(4),
    ),
    "pooled": (
        model.Conv(9, 3, 1, "SAME", fill=-1, pool=2),
        model.Conv(5, 2, pool=3),
        model.Dense(13),
        model.Dense(4),
    ),
}


def drawn(layers, shape, seed=0):
    """Return parameters with biases that keep fields away from ties by rounding."""
    params = model.init(jax.random.key(seed), layers, shape)
    keys = jax.random.split(jax.random.key(seed + 1), len(params))
    for key, own in zip(keys, params.values(), strict=True):
        own["bias"] = 0.1 * jax.random.normal(key, own["bias"].shape)
    return params


def by_loops(layers, params, x):
    """Return the last field in float64, window by window."""
    values = np.asarray(x, np.float64)
    for index, layer in enumerate(layers):
        own = params[f"layer_{index}"]
        w = np.where(np.asarray(own["m"]) >= 0, 1.0, -1.0)
        bias = np.asarray(own["bias"], np.float64) * np.sqrt(w[..., 0].size)
        if isinstance(layer, model.Dense):
            field = values.reshape(len(values), -1) @ w + bias
        else:
            size, step = layer.size, layer.stride
            if layer.padding == "SAME":
                short = [
                    max((-(-n // step) - 1) * step + size - n, 0)
                    for n in values.shape[1:3]
                ]
                sides = [(s // 2, s - s // 2) for s in short]
                values = np.pad(
                    values, [(0, 0), *sides, (0, 0)], constant_values=layer.fill
                )
            rows, columns = (range(0, n - size + 1, step) for n in values.shape[1:3])
            field = np.stack(
                [
                    np.stack(
                        [
                            np.einsum(
                                "bhwc,hwco->bo",
                                values[:, i : i + size, j : j + size],
                                w,
                            )
                            for j in columns
                        ],
                        axis=1,
                    )
                    for i in rows
                ],
                axis=1,
            )
            field = field + bias
        values = np.where(field >= 0, 1.0, -1.0)
        side = getattr(layer, "pool", 1)
        if side > 1:
            height, width = (n // side for n in values.shape[1:3])
            values = np.stack(
                [
                    values[:, i * side : (i + 1) * side, :][:, :, : width * side]
                    .reshape(len(values), side, width, side, -1)
                    .max(axis=(1, 3))
                    for i in range(height)
                ],
                axis=1,
            )
    return field


@pytest.mark.parametrize(
    "name",
    [
        name if name == "pooled" else pytest.param(name, marks=pytest.mark.slow)
        for name in STACKS
    ],
)
def test_packed_convolutions_are_the_network_that_was_trained(name, tmp_path):
    layers = STACKS[name]
    params = drawn(layers, (9, 8, 2))
    pixels = np.random.default_rng(1).integers(0, 256, (25, 9, 8, 2))
    loops = by_loops(layers, params, pixels)
    x = jnp.asarray(pixels)
    field = model.run_signs(layers, model.mode(params), x)
    np.testing.assert_allclose(field, loops, atol=1e-3)
    artefact.save(tmp_path / "n.npz", artefact.pack(layers, params))
    again = artefact.load(tmp_path / "n.npz")
    np.testing.assert_array_equal(artefact.predict(again, pixels), loops.argmax(1))
    np.testing.assert_array_equal(
        artefact.predict(again, pixels, chunk=4), loops.argmax(1)
    )
    # A certain network propagates as it runs.
    mean = model.propagate(layers, model.mode(params), x).mean
    np.testing.assert_allclose(mean, loops, atol=0.03)
    drawn_signs = model.sampled(layers, model.mode(params), x, jax.random.key(0))
    np.testing.assert_allclose(drawn_signs.mean, loops, atol=0.03)


def test_the_affine_map_of_pixels_does_not_touch_the_border():
    layers = STACKS["ones round signs"]
    params = drawn(layers, (9, 8, 2))
    pixels = np.random.default_rng(1).integers(0, 256, (25, 9, 8, 2))
    packed_network = artefact.pack(layers, params, scale=1 / 50, shift=-1.5)
    loops = by_loops(layers, params, pixels / 50 - 1.5)
    np.testing.assert_array_equal(
        artefact.predict(packed_network, pixels), loops.argmax(1)
    )


def test_zeros_among_signs_are_refused():
    layers = (model.Conv(5, 3), model.Conv(5, 3, 1, "SAME"), model.Dense(4))
    with pytest.raises(ValueError, match="layer 1: zeros at the border are no signs"):
        artefact.pack(layers, drawn(layers, (9, 8, 2)))
    with pytest.raises(ValueError, match="layers: expected the last to be dense"):
        first = {"layer_0": drawn(layers, (9, 8, 2))["layer_0"]}
        artefact.pack(layers[:1], first)


def test_images_of_another_size_are_refused():
    layers = STACKS["valid"]
    network = artefact.pack(layers, drawn(layers, (9, 8, 2)))
    for shape in ((3, 9, 8), (3, 9, 8, 1), (3, 9, 9, 2), (3, 2, 2, 2)):
        with pytest.raises(ValueError, match="pixels: "):
            artefact.predict(network, np.ones(shape, np.uint8))


def test_a_tie_is_plus_one_in_training_and_serving():
    """Two inputs that cancel, no bias: every hidden field is exactly 0."""
    layers = (model.Dense(3), model.Dense(2))
    params = {
        "layer_0": {"m": jnp.array([[0.5] * 3, [-0.5] * 3]), "bias": jnp.zeros(3)},
        "layer_1": {"m": jnp.array([[-0.5, 0.5]] * 3), "bias": jnp.zeros(2)},
    }
    pixels = np.array([[7, 7]])
    x = jnp.asarray(pixels)
    field = model.run_signs(layers, model.mode(params), x)
    np.testing.assert_array_equal(field, [[-3.0, 3.0]])
    assert artefact.predict(artefact.pack(layers, params), pixels) == [1]
    assert float(straight.straight_sign(jnp.zeros(()))) == 1
    assert perceptron.predict(jnp.int8([1, -1]), jnp.int8([[1, 1]])).tolist() == [1]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int32", "uint32", "bool", "float16"]
)
def test_every_dtype_of_pixels_is_the_same_number(network, dtype):
    """Sums of small types overflow, and their signs wrap, unless they are widened."""
    given = np.random.default_rng(3).integers(0, 120, (30, 20)).astype(dtype)
    exact, m = given.astype(np.float32), network["layer_0"]["m"][:, 0]
    for function in (
        lambda x: model.run_signs(LAYERS, model.mode(network), x),
        lambda x: model.propagate(LAYERS, network, x).mean,
        lambda x: model.propagate(LAYERS, network, x).variance,
        lambda x: model.sampled(LAYERS, network, x, jax.random.key(0)).mean,
        lambda x: straight.logits(LAYERS, network, x),
        lambda x: perceptron.predict(perceptron.mode(m), x),
        lambda x: perceptron.mean_predict(m, x),
    ):
        np.testing.assert_array_equal(
            function(jnp.asarray(given)), function(jnp.asarray(exact))
        )
    if np.issubdtype(given.dtype, np.integer):
        packed_network = artefact.pack(LAYERS, network)
        np.testing.assert_array_equal(
            artefact.predict(packed_network, given),
            artefact.predict(packed_network, exact.astype(np.int64)),
        )


def test_inputs_that_are_no_numbers_are_refused(network):
    weights = model.mode(network)
    for bad, message in (
        (np.full((2, 20), np.nan), "x: expected finite numbers"),
        (np.ones((2, 20), complex), "x: expected real numbers"),
        (np.ones((2, 19)), r"x: Dense.* cannot take inputs \(2, 19\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.run_signs(LAYERS, weights, jnp.asarray(bad))
    far = {
        **network,
        "layer_0": {**network["layer_0"], "m": 2 + 0 * weights["layer_0"]["m"]},
    }
    with pytest.raises(ValueError, match="layer_0/m: expected magnetisations in"):
        model.propagate(LAYERS, far, jnp.ones((2, 20)))


# --- damage ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file of a convolutional network, its arrays, its images and their classes."""
    layers = STACKS["ones round signs"]
    path = tmp_path_factory.mktemp("artefact") / "n.npz"
    artefact.save(path, artefact.pack(layers, drawn(layers, (9, 8, 2)), scale=0.1))
    pixels = np.random.default_rng(1).integers(0, 256, (6, 9, 8, 2))
    with np.load(path) as file:
        arrays = dict(file)
    return (
        path.read_bytes(),
        arrays,
        pixels,
        artefact.predict(artefact.load(path), pixels),
    )


def zipped(arrays, compressed=False):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def damaged(rng, raw, arrays):
    """Return one damaged file: bytes changed, or arrays that were put together ill."""
    kind = rng.integers(9)
    data = bytearray(raw)
    place = int(rng.integers(len(data)))
    if kind == 0:
        for at in rng.integers(len(data), size=rng.integers(1, 9)):
            data[at] ^= 1 << int(rng.integers(8))
        return bytes(data)
    if kind == 1:
        return bytes(data[:place])
    if kind == 2:
        del data[place : place + int(rng.integers(1, 300))]
        return bytes(data)
    if kind == 3:
        data[place:place] = rng.bytes(int(rng.integers(1, 300)))
        return bytes(data)
    if kind == 4:
        other = int(rng.integers(len(data)))
        data[place : place + 64] = data[other : other + 64]
        return bytes(data)
    names = sorted(arrays)
    name, changed = str(rng.choice(names)), dict(arrays)
    if rng.integers(2):  # the first format had no digest: the checks stand alone
        del changed["digest"], changed["format"]
        name = name if name in changed else "bits_0"
    array = changed[name]
    if kind == 5:
        del changed[name]
    elif kind == 6:
        changed[f"bits_{rng.integers(2, 9)}"] = array
    elif kind == 7:
        shapes = [
            array[None],
            np.append(array.ravel(), array.ravel()[:1]),
            array.ravel(),
        ]
        array = shapes[rng.integers(len(shapes))]
        changed[name] = array[:-1] if rng.integers(2) and array.ndim else array
    elif array.dtype.kind == "f":
        changed[name] = np.where(rng.random(array.shape) < 0.5, np.nan, array)
    elif array.dtype.kind in "iu":
        kinds = [np.float32, np.int8, np.complex64, np.bool_, "U4"]
        changed[name] = array.astype(kinds[rng.integers(len(kinds))])
    else:
        changed[name] = np.asarray("another format")
    return zipped(changed, compressed=bool(rng.integers(4) == 0))


def survive(seeds, stored, path):
    """Return how many damaged files were refused; raise on any other end."""
    raw, arrays, pixels, classes = stored
    refused = 0
    for seed in seeds:
        path.write_bytes(damaged(np.random.default_rng(seed), raw, arrays))
        try:
            network = artefact.load(path)
        except artefact.ArtefactError as error:
            assert str(path) in str(error), seed
            refused += 1
        else:
            np.testing.assert_array_equal(
                artefact.predict(network, pixels), classes, str(seed)
            )
    return refused


def test_damage_is_refused_by_name_or_harmless(stored, tmp_path):
    assert survive(range(300), stored, tmp_path / "n.npz") > 200


@pytest.mark.slow
def test_ten_thousand_damaged_files(stored, tmp_path):
    assert survive(range(10_000), stored, tmp_path / "n.npz") > 7000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs_1": np.asarray(54)}, "layer 1: 54 inputs do not fit bits"),
        ({"bias_1": np.ones(1)}, "layer 1: expected a bias of"),
        ({"bias_1": np.full(6, np.inf)}, "layer 1: expected a finite bias"),
        ({"bias_1": np.ones(6, int)}, "layer 1: expected a bias of"),
        ({"bits_0": np.ones((3, 5))}, "layer 0: expected bits as a matrix of uint8"),
        ({"bits_0": np.full((3, 5), 255, np.uint8)}, "layer 0: bits are set beyond"),
        ({"inputs_0": np.asarray(-18)}, "layer 0: expected bits as a matrix"),
        ({"window_0": np.asarray([3, 0, 1, 0, 1])}, "layer 0: no window"),
        ({"window_0": np.asarray([3, 2, 1, 0])}, "expected integers of"),
        ({"window_1": np.asarray([3, 1, 1, 0, 1])}, "layer 1: zeros at the border"),
        ({"pixel": np.asarray([np.nan, 0.0])}, "pixel: expected a finite scale"),
        ({"pixel": np.asarray([0.0, 0.0])}, "pixel: a scale of 0"),
        ({"pixel": np.asarray(["a", "b"])}, "pixel: expected two floats"),
        ({"bits_9": np.ones((3, 5), np.uint8)}, "unknown or out of order"),
    ],
)
def test_parts_that_do_not_fit_are_named(stored, tmp_path, change, message):
    arrays = {k: v for k, v in stored[1].items() if k not in ("format", "digest")}
    path = tmp_path / "n.npz"
    path.write_bytes(zipped(arrays | change))
    with pytest.raises(artefact.ArtefactError, match=rf"n\.npz: .*{message}"):
        artefact.load(path)
    path.write_bytes(zipped(arrays))
    assert len(artefact.load(path).layers) == 4  # the first format, whole
    path.write_bytes(zipped(stored[1] | change))
    with pytest.raises(artefact.ArtefactError, match="the digest is that of other"):
        artefact.load(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        artefact.load(tmp_path / "none.npz")


def test_a_network_whose_parts_do_not_fit_is_not_written(network, tmp_path):
    whole = artefact.pack(LAYERS, network)
    broken = whole._replace(layers=whole.layers[::-1])
    with pytest.raises(ValueError, match="layer 1: 20 inputs after 4 units"):
        artefact.save(tmp_path / "n.npz", broken)
    assert not list(tmp_path.iterdir())
    assert packed.check(whole) is None

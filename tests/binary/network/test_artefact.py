"""The packed network: one bit a weight, the same classes in integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary.network import artefact, model

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
    with pytest.raises(ValueError, match="layers: expected dense layers"):
        artefact.pack((model.Conv(2, 3), *LAYERS), network)
    other = tmp_path / "other.npz"
    other.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"other\.npz: not a packed network"):
        artefact.load(other)
    np.savez(tmp_path / "empty.npz", pixel=np.zeros(2))
    with pytest.raises(ValueError, match="no layers"):
        artefact.load(tmp_path / "empty.npz")

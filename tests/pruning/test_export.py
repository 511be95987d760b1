"""Files of sparse networks: round trips, layouts by hand, damage refused by name."""

import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from pruning.export import load_safetensors, save_safetensors, to_bcoo
from synaptax.runs.files import FileError


def tree():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 2, 11)).astype(np.float32)
    kernel[rng.random(kernel.shape) < 0.7] = 0
    half = rng.normal(size=(5, 9)).astype(ml_dtypes.bfloat16)
    return {
        "Conv_0": {"kernel": kernel, "bias": np.float32([0, 1, 2])},
        "Dense_0": {"kernel": half, "scale": np.float64(2), "steps": np.arange(4)},
    }


def masks():
    mask = {
        "Conv_0": {"kernel": tree()["Conv_0"]["kernel"] != 0, "bias": np.ones(3, bool)},
        "Dense_0": {
            "kernel": np.arange(45).reshape(5, 9) % 3 == 0,
            "scale": np.ones((), bool),
            "steps": np.ones(4, bool),
        },
    }
    mask["Conv_0"]["kernel"][0, 0, 0, :3] = True  # zeros that are kept
    return mask


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_equal(found[name], value)
        else:
            assert np.asarray(found[name]).dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("layout", ["dense", "bitmask"])
def test_what_was_written_is_read(layout, tmp_path):
    path, params, mask = tmp_path / "net.safetensors", tree(), masks()
    save_safetensors(path, params, mask, layout=layout)
    saved = load_safetensors(path)
    params["Dense_0"]["kernel"] = np.where(
        mask["Dense_0"]["kernel"], params["Dense_0"]["kernel"], 0
    ).astype(ml_dtypes.bfloat16)
    assert_equal(saved.params, params)
    assert_equal(saved.mask, mask)
    again = load_safetensors(path, like=params)
    assert_equal(again.params, params)
    with pytest.raises(FileError, match=r"net.safetensors: params: leaf .* missing"):
        load_safetensors(path, like={**params, "more": np.zeros(1)})


def test_the_bitmask_layout_by_hand(tmp_path):
    value = np.zeros((2, 10), np.float32)
    value[0, [0, 9]], value[1, 3] = (1, 2), 3
    save_safetensors(tmp_path / "f", {"w": value}, layout="bitmask")
    raw = (tmp_path / "f").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    read = lambda part, dtype: np.frombuffer(
        raw[8 + size :][slice(*header[f"w.{part}"]["data_offsets"])], dtype
    ).tolist()
    assert size % 8 == 0 and header["__metadata__"]["layout"] == "bitmask"
    assert read("compressed", np.float32) == [1, 2, 3]
    assert read("bitmask", np.uint8) == [1, 2, 8, 0]  # the lowest bit first
    assert read("row_offsets", np.int64) == [0, 2] and read("shape", np.int64) == [
        2,
        10,
    ]
    assert header["w.bitmask"]["shape"] == [2, 2]


def test_other_readers_agree(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    params = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    save_safetensors(tmp_path / "ours", params, layout="dense")
    found = package.load_file(tmp_path / "ours")
    np.testing.assert_array_equal(found["a.b"], params["a"]["b"])
    package.save_file({"a.b": params["a"]["b"]}, tmp_path / "theirs")
    assert_equal(load_safetensors(tmp_path / "theirs").params, params)


def test_damage_is_refused_by_name(tmp_path):
    path = tmp_path / "net.safetensors"
    save_safetensors(path, tree(), masks(), layout="bitmask")
    whole = path.read_bytes()
    expected = load_safetensors(path)
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(400):
        raw = bytearray(whole)
        kind = rng.integers(3)
        if kind == 0:
            raw = raw[: rng.integers(len(raw))]
        elif kind == 1:
            raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
        else:
            raw += bytes(rng.integers(1, 9))
        path.write_bytes(raw)
        try:
            found = load_safetensors(path)
        except FileError as error:
            refused += "net.safetensors: " in str(error)
        else:  # a bit of a value or of a name: the format has no checksum
            assert kind == 1
            assert found.mask.keys() | expected.mask.keys()
    assert refused > 250


def test_headers_that_lie_are_refused(tmp_path):
    def write(header, data=b"\0" * 8):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / "f"
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)
        return path

    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    assert load_safetensors(write({"w": one})).params["w"].shape == (2,)
    bits = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    for header, message in [
        ([1], "the header is no object"),
        (b"{", "the header is not JSON"),
        (b'{"w": 1, "w": 2}', "a name stands twice"),
        ({"w": one | {"dtype": "F8"}}, "w: KeyError"),
        ({"w": one | {"shape": [3]}}, "w: .*do not agree"),
        ({"w": one | {"shape": [-2]}}, "w: .*do not agree"),
        ({"w": one | {"shape": [2.0]}}, "w: .*do not agree"),
        ({"w": one | {"data_offsets": [4, 12]}}, "w: .*behind the file's end"),
        ({"w": one, "v": one}, "expected to begin at 8, not 0"),
        ({}, "8 bytes belong to no tensor"),
        ({"w.bitmask": bits}, "w: compressed is missing"),
        ({"mask.w": bits}, "w: its mask does not fit"),
        (
            {
                "w": one | {"shape": [1], "data_offsets": [0, 4]},
                "w.v": one | {"shape": [1], "data_offsets": [4, 8]},
            },
            "within another's",
        ),
    ]:
        with pytest.raises(FileError, match=message):
            load_safetensors(write(header))
    (tmp_path / "g").write_bytes(b"PK")
    with pytest.raises(FileError, match="not a safetensors file"):
        load_safetensors(tmp_path / "g")


def test_what_cannot_be_written_is_named(tmp_path):
    path, params = tmp_path / "f", {"w": np.ones((2, 2), np.float32)}
    with pytest.raises(ValueError, match="layout: expected 'dense' or 'bitmask'"):
        save_safetensors(path, params, layout="csr")
    with pytest.raises(ValueError, match="mask: leaf w is float32, expected bool"):
        save_safetensors(path, params, params, layout="dense")
    with pytest.raises(ValueError, match="params: leaf w is complex64"):
        save_safetensors(path, {"w": np.ones(2, np.complex64)}, layout="dense")
    with pytest.raises(ValueError, match=r"leaf a[.]b has no name of its own"):
        save_safetensors(path, {"a.b": params["w"]}, layout="dense")
    assert not list(tmp_path.iterdir())


def test_bcoo_holds_the_same_matrix():
    kernel = jnp.asarray([[0.0, 2.0], [3.0, 0.0]])
    sparse = to_bcoo({"w": kernel})["w"]
    assert sparse.nse == 2
    np.testing.assert_array_equal(sparse.todense(), kernel)

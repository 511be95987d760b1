"""torchvision's weights: the same outputs as NumPy, and as torchvision itself."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.models import ModelConfig, convert, network, read_state
from tests.covid_cxr.models import formula, reference

GOLDEN = Path(__file__).parent / "golden" / "golden.npz"
SMALL = {
    "resnet18": (ModelConfig("resnet18", 4, 3), formula.resnet_shapes(18, 4, 3)),
    "resnet50": (ModelConfig("resnet50", 2, 3), formula.resnet_shapes(50, 2, 3)),
    "densenet121": (
        ModelConfig("densenet121", 4, 3, blocks=(2, 1, 2)),
        formula.densenet_shapes(4, 3, blocks=(2, 1, 2)),
    ),
}


def ours(config, state, x, **options):
    net = network(config)
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    params, stats = convert(state, *blank, head=True, **options)

    @jax.jit
    def forward(params, stats, x):
        return net.apply(params, stats, x), net.features(params, stats, x)

    return forward(params, stats, jnp.asarray(x))


def close(found, wanted):
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", list(SMALL))
def test_forward_parity_with_plain_numpy(name):
    config, shapes = SMALL[name]
    state, x = formula.fill(shapes), formula.images(2, 33)
    logits, features = ours(config, state, x)
    forward = reference.densenet if name == "densenet121" else reference.resnet
    grey = np.repeat(x.transpose(0, 3, 1, 2), 3, axis=1).astype(np.float64)
    maps, wanted = forward(state, grey)
    close(logits, wanted)
    assert set(features) == set(maps)
    for stage, one in maps.items():
        close(features[stage], one.mean(axis=(2, 3)))
    assert np.abs(wanted).max() > 0.1  # not a dead network


def golden_parity(name):
    with np.load(GOLDEN) as file:
        wanted = {key: file[key] for key in file if key.startswith(f"{name}/")}
    dense = name == "densenet121"
    shapes = (
        formula.densenet_shapes() if dense else formula.resnet_shapes(int(name[6:]))
    )
    logits, features = ours(
        ModelConfig(name, classes=1000), formula.fill(shapes), formula.images()
    )
    close(logits[:, :8], wanted.pop(f"{name}/logits"))
    for key, value in wanted.items():
        close(features[key.removeprefix(f"{name}/")][:, :32], value)


def test_full_size_resnet_parity_with_torchvision():
    golden_parity("resnet18")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_deeper_full_size_parity_with_torchvision(name):
    golden_parity(name)


def blank(config):
    shapes = jax.eval_shape(network(config).init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)


def test_grey_first_takes_the_first_channel():
    config, shapes = SMALL["resnet18"]
    state = formula.fill(shapes)
    params, _ = convert(state, *blank(config), grey="first")
    wanted = state["conv1.weight"][:, :1].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(params["conv1"]["kernel"], wanted)
    params, _ = convert(state, *blank(config))
    wanted = state["conv1.weight"].sum(axis=1, keepdims=True).transpose(2, 3, 1, 0)
    np.testing.assert_allclose(params["conv1"]["kernel"], wanted, rtol=1e-6)
    assert (np.asarray(params["fc"]["out"]["kernel"]) == 0).all()  # left as it was
    single = formula.fill(formula.resnet_shapes(18, 4, 3, inputs=1))
    params, _ = convert(single, *blank(config), grey="first")
    wanted = single["conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(params["conv1"]["kernel"], wanted)


def test_group_norm_takes_scales_and_no_averages():
    state = formula.fill(SMALL["resnet18"][1])
    params, stats = convert(state, *blank(ModelConfig("resnet18", 4, norm="group")))
    assert stats == {}
    np.testing.assert_array_equal(params["bn1"]["scale"], state["bn1.weight"])


def test_files_and_wrappings(tmp_path):
    config, shapes = SMALL["resnet18"]
    state = formula.fill(shapes)
    np.savez(tmp_path / "w.npz", **state)
    wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    wanted = convert(state, *blank(config))
    for given in (tmp_path / "w.npz", str(tmp_path / "w.npz"), wrapped):
        found = convert(given, *blank(config))
        jax.tree.map(np.testing.assert_array_equal, found, wanted)

    class Tensor:
        def __init__(self, value):
            self.value = value

        def detach(self):
            return self

        cpu = detach

        def numpy(self):
            return self.value

    found = read_state({"a": Tensor(np.ones(2))})
    np.testing.assert_array_equal(found["a"], [1, 1])


def test_bad_states(tmp_path):
    config, shapes = SMALL["resnet18"]
    state, like = formula.fill(shapes), blank(config)
    without = {k: v for k, v in state.items() if not k.startswith("layer1")}
    with pytest.raises(ValueError, match=r"has no layer1.0.bn1.bias, .* and 17 more"):
        convert(without, *like)
    with pytest.raises(ValueError, match=r"unexpected layer9\.weight"):
        convert(state | {"layer9.weight": np.ones(1)}, *like)
    with pytest.raises(ValueError, match=r"bn1.bias has shape \(3,\)"):
        convert(state | {"bn1.bias": np.ones(3)}, *like)
    with pytest.raises(ValueError, match=r"bn1.bias has values that are not finite"):
        convert(state | {"bn1.bias": np.full(4, np.nan)}, *like)
    with pytest.raises(ValueError, match=r"bn1\.bias is <U1"):
        convert(state | {"bn1.bias": np.array(["x"])}, *like)
    with pytest.raises(ValueError, match="grey"):
        convert(state, *like, grey="mean")
    with pytest.raises(ValueError, match="head: torchvision's is linear"):
        convert(state, *blank(ModelConfig("resnet18", 4, hidden=5)), head=True)
    with pytest.raises(ValueError, match="expected a mapping"):
        convert({}, *like)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.npz"):
        convert(tmp_path / "absent.npz", *like)
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a NumPy archive"):
        convert(tmp_path / "bad.npz", *like)


def test_a_torch_file_without_torch_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"anything")
    with pytest.raises(ImportError, match=r"needs PyTorch; or save it as .npz"):
        read_state(tmp_path / "w.pth")

"""A PyTorch state against networks written out channels first, as PyTorch computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from synaptax.nets import models
from synaptax.nets.torch_state import from_torch


def conv(x, weight, bias=None, stride=1, pad=0):
    """Convolve (B, C, H, W) with (O, I, k, k)."""
    y = lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
        precision="highest",
    )
    return y if bias is None else y + bias[None, :, None, None]


def pool(x):
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))


def norm(x, state, name):
    shape = lambda part: state[f"{name}.{part}"][None, :, None, None]
    x = (x - shape("running_mean")) / np.sqrt(shape("running_var") + 1e-5)
    return x * shape("weight") + shape("bias")


def dense(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"][None]


def drawn(shapes, seed=0):
    """Return a state with random numbers; moments and scales positive."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        value = rng.normal(size=shape).astype(np.float32)
        if name.endswith("running_var"):
            value = 0.5 + np.abs(value)
        elif len(shape) > 1:
            value = value / np.sqrt(np.prod(shape[1:]))
        state[name] = np.float32(value)
    return state


def lenet5(state, x):
    for name in ("conv1", "conv2"):
        x = pool(conv(x, state[f"{name}.weight"], state[f"{name}.bias"]))
        x = jnp.maximum(x, 0)
    x = x.reshape(len(x), -1)
    x = jnp.maximum(dense(x, state, "fc1"), 0)
    return dense(x, state, "fc2")


LENET5 = {
    "conv1.weight": (20, 1, 5, 5),
    "conv1.bias": (20,),
    "conv2.weight": (50, 20, 5, 5),
    "conv2.bias": (50,),
    "fc1.weight": (500, 200),
    "fc1.bias": (500,),
    "fc2.weight": (10, 500),
    "fc2.bias": (10,),
}


def lenet300(state, x):
    x = x.reshape(len(x), -1)
    for name in ("a", "b"):
        x = jnp.maximum(dense(x, state, name), 0)
    return dense(x, state, "c")


LENET300 = {
    "a.weight": (300, 48),
    "a.bias": (300,),
    "b.weight": (100, 300),
    "b.bias": (100,),
    "c.weight": (10, 100),
    "c.bias": (10,),
}


def resnet20(state, x):
    x = jnp.maximum(norm(conv(x, state["conv1.weight"], pad=1), state, "bn1"), 0)
    for stage in (1, 2, 3):
        for block in range(3):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and not block else 1
            y = conv(x, state[f"{name}.conv1.weight"], stride=stride, pad=1)
            y = jnp.maximum(norm(y, state, f"{name}.bn1"), 0)
            y = norm(
                conv(y, state[f"{name}.conv2.weight"], pad=1), state, f"{name}.bn2"
            )
            if stride == 2:
                new = y.shape[1] - x.shape[1]
                x = jnp.pad(
                    x[:, :, ::2, ::2], ((0, 0), (new // 2,) * 2, (0, 0), (0, 0))
                )
            x = jnp.maximum(y + x, 0)
    return dense(x.mean((2, 3)), state, "linear")


def resnet_shapes():
    shapes = {}

    def pair(conv_name, norm_name, outputs, inputs):
        shapes[f"{conv_name}.weight"] = (outputs, inputs, 3, 3)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm_name}.{part}"] = (outputs,)
        shapes[f"{norm_name}.num_batches_tracked"] = ()

    pair("conv1", "bn1", 16, 3)
    inputs = 16
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name = f"layer{stage}.{block}"
            pair(f"{name}.conv1", f"{name}.bn1", width, inputs)
            pair(f"{name}.conv2", f"{name}.bn2", width, width)
            inputs = width
    return shapes | {"linear.weight": (10, 64), "linear.bias": (10,)}


@pytest.mark.parametrize(
    ("name", "shapes", "reference", "shape"),
    [
        ("lenet300", LENET300, lenet300, (4, 4, 3)),
        ("lenet5", LENET5, lenet5, (20, 20, 1)),
        ("resnet20", resnet_shapes(), resnet20, (8, 8, 3)),
    ],
)
def test_the_outputs_are_those_of_the_channels_first_network(
    name, shapes, reference, shape
):
    state = drawn(shapes)
    params, stats = from_torch(name, state, 10, shape)
    net = models.network(name, 10, shape)
    expected = jax.eval_shape(net.init, jax.random.key(0))
    assert jax.tree.structure((params, stats)) == jax.tree.structure(expected)
    x = jax.random.normal(jax.random.key(1), (3, *shape))
    found = jax.jit(net.apply)(params, stats, x)
    wanted = jax.jit(lambda x: reference(state, x))(x.transpose(0, 3, 1, 2))
    scale = float(jnp.abs(wanted).max())
    np.testing.assert_allclose(found, wanted, atol=2e-5 * scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("fc2.bias"), "fc2 has nothing for Dense_1/bias"),
        (lambda s: s.update({"fc3.weight": np.ones((2, 2))}), "the state 5"),
        (lambda s: s.update({"fc1.weight": np.ones((500, 800))}), "fc1 gives .* shape"),
        (
            lambda s: s.update({"conv1.weight": np.full((20, 1, 5, 5), np.nan)}),
            "finite",
        ),
        (lambda s: s.update({"conv1.bias": np.ones(20, int)}), "floating"),
        (lambda s: s.update({"conv1.mask": np.ones(20)}), "conv1.mask"),
        (lambda s: s.update({"fc1.running_mean": np.ones(500)}), "has .*mean"),
        (lambda s: s.pop("fc1.weight"), "fc1 has no weight"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(change, message):
    state = drawn(LENET5)
    change(state)
    with pytest.raises(ValueError, match=message):
        from_torch("lenet5", state, 10, (20, 20, 1))
    with pytest.raises(ValueError, match="name: expected one of"):
        from_torch("mobilenet_v2", state, 10, (32, 32, 3))


def test_a_bias_before_a_norm_goes_into_its_running_mean():
    state = drawn(resnet_shapes())
    biased = dict(state)
    for name in list(state):
        if name.endswith("conv1.weight") or name.endswith("conv2.weight"):
            conv_name, mean = name[:-7], name[:-7].replace("conv", "bn")
            bias = np.linspace(-2, 2, len(state[name]), dtype=np.float32)
            biased[f"{conv_name}.bias"] = bias
            biased[f"{mean}.running_mean"] = state[f"{mean}.running_mean"] + bias
    wanted = from_torch("resnet20", state, 10, (8, 8, 3))
    found = from_torch("resnet20", biased, 10, (8, 8, 3))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, wanted
    )
    # A norm without running moments, or of another width, takes no bias.
    for change in (
        lambda s: s.pop("bn1.running_mean"),
        lambda s: s.update({"conv1.bias": np.ones(1, np.float32)}),
    ):
        other = dict(biased)
        change(other)
        with pytest.raises(ValueError, match=r"conv1 has \['bias'\], Conv_0 has not"):
            from_torch("resnet20", other, 10, (8, 8, 3))


class Bfloat16:
    """A tensor as PyTorch's, which NumPy cannot take before ``float``."""

    def __init__(self, value):
        self.value = value

    detach = cpu = lambda self: self
    is_floating_point = lambda self: True
    float = lambda self: Float32(self.value)

    def numpy(self):
        raise TypeError("Got unsupported ScalarType BFloat16")


class Float32(Bfloat16):
    numpy = lambda self: np.float32(self.value)


def test_bfloat16_is_taken_and_what_float32_cannot_hold_is_not():
    state = {name: jnp.bfloat16(value) for name, value in drawn(LENET300).items()}
    tensors = {name: Bfloat16(value) for name, value in state.items()}
    wide = {name: np.asarray(value, np.float64) for name, value in state.items()}
    wanted, _ = from_torch("lenet300", wide, 10, (4, 4, 3))
    for one in (state, tensors):
        found, _ = from_torch("lenet300", one, 10, (4, 4, 3))
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
    wide["a.bias"][3] = 1e39
    with pytest.raises(
        ValueError, match=r"a\.bias: expected numbers finite in float32"
    ):
        from_torch("lenet300", wide, 10, (4, 4, 3))


def test_a_state_of_torch_gives_torchs_outputs():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    net = nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)),
    )
    params, stats = from_torch("lenet5", net.state_dict(), 10, (28, 28, 1))
    x = np.random.default_rng(0).normal(size=(3, 28, 28, 1)).astype(np.float32)
    found = models.network("lenet5", 10, (28, 28, 1)).apply(params, stats, x)
    with torch.no_grad():
        wanted = net(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)

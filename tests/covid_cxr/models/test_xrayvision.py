"""torchxrayvision's weights: the same outputs as its model class in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.models import (
    XRAYVISION,
    ModelConfig,
    convert,
    from_torchxrayvision,
    network,
)
from covid_cxr.train import StageConfig
from covid_cxr.train.scaling import standardise
from tests.covid_cxr.models import formula, reference

DENSE = formula.densenet_shapes(4, len(XRAYVISION), blocks=(2, 1, 2))
DENSE["features.conv0.weight"] = (4, 1, 7, 7)


@pytest.mark.parametrize(
    "name", ["densenet121", pytest.param("resnet18", marks=pytest.mark.slow)]
)
def test_outputs_are_those_of_its_network_on_its_images(name):
    dense = name == "densenet121"
    shapes = DENSE if dense else formula.resnet_shapes(18, 4, 18, inputs=1)
    state = formula.fill(shapes)
    first = "features.conv0.weight" if dense else "conv1.weight"
    # As weights are that were trained on inputs of a thousand.
    state[first] = state[first] / np.float32(1024)
    unit = np.random.default_rng(0).random((2, 17, 17, 1)).astype(np.float32)
    theirs = reference.densenet if dense else reference.resnet
    its_images = 1024 * (2 * unit.transpose(0, 3, 1, 2).astype(np.float64) - 1)
    _, wanted = theirs(state, its_images)
    given = state if dense else {f"model.{key}": one for key, one in state.items()}
    given["op_threshs"] = np.full(18, 0.5, np.float32)
    config = ModelConfig(name, 4, 18, **({"blocks": (2, 1, 2)} if dense else {}))
    net = network(config)
    shape = jax.eval_shape(net.init, jax.random.key(0))
    blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shape)
    params, stats = convert(from_torchxrayvision(given), *blank, head=True)
    x = standardise(jnp.asarray(unit), StageConfig())
    found = jax.jit(net.apply)(params, stats, x)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.ptp(wanted) > 0.1


@pytest.mark.parametrize(
    ("state", "std", "words"),
    [
        ({"fc.weight": np.ones(2)}, 0.25, "has neither features.conv0.weight"),
        ({"conv1.weight": np.ones((4, 3, 7, 7))}, 0.25, "expected one input channel"),
        ({"conv1.weight": np.ones((4, 1, 7, 7))}, 0.0, "std: expected a positive"),
    ],
)
def test_what_is_none_of_its_networks_is_refused(state, std, words):
    with pytest.raises(ValueError, match=words):
        from_torchxrayvision(state, std=std)
